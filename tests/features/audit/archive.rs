//! Reading the archive of an account or a room: XEP-0313 on the bare JID, in pages (XEP-0059).

use super::ledger::{Key, Row};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, escape};

/// XEP-0313 §7: whether the account has an archive.
pub async fn is_offered(client: &mut Client) -> Outcome<bool> {
    let own = own(client);
    let query = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = client
        .ask(&format!("<iq type='get' id='disco' to='{}'>{query}</iq>", escape(&own)))
        .await?;
    let info = answer.children.iter().find(|child| child.name == "query");
    let features = info.into_iter().flat_map(|query| &query.children);
    Ok(features.into_iter().any(|feature| feature.attr("var") == Some(MAM)))
}

/// All rows, from the first to the last.
pub async fn read_all(client: &mut Client) -> Outcome<Vec<Row>> {
    let own = own(client);
    read_all_of(client, &own).await
}

/// The same of an account or a room.
pub async fn read_all_of(client: &mut Client, of: &str) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = page(client, of, &format!("<max>{PAGE_ROWS}</max>{after}")).await?;
        let Some(last) = page.rows.last() else {
            return match page.is_complete {
                true => Ok(rows),
                false => client.fail("an empty page that says there is more"),
            };
        };
        after = format!("<after>{}</after>", escape(&last.uid));
        let is_complete = page.is_complete;
        rows.extend(page.rows);
        if is_complete {
            return Ok(rows);
        }
    }
}

/// The last rows, as a client asks that has just come back.
pub async fn read_last(client: &mut Client) -> Outcome<Vec<Row>> {
    let own = own(client);
    Ok(page(client, &own, "<max>10</max><before/>").await?.rows)
}

struct Page {
    rows: Vec<Row>,
    is_complete: bool,
}

/// XEP-0313 §4: the results, then the answer.
async fn page(client: &mut Client, of: &str, set: &str) -> Outcome<Page> {
    let of = escape(of);
    let query = format!("<query xmlns='{MAM}' queryid='q'><set xmlns='{RSM}'>{set}</set></query>");
    let answer = client.ask(&format!("<iq type='set' id='page' to='{of}'>{query}</iq>")).await?;
    let came = client.take();
    let results = came.iter().filter_map(|message| message.child(MAM, "result"));
    let rows: Option<Vec<Row>> = results.map(row).collect();
    let (Some(fin), Some(rows)) = (answer.child(MAM, "fin"), rows) else {
        return client.fail(format!("no page: {answer}"));
    };
    // XEP-0313 §4.3.2: `last` names the last result of the page.
    let told = fin.child(RSM, "set").and_then(|set| set.child(RSM, "last"));
    if told.map(|last| last.text.as_str()) != rows.last().map(|row| row.uid.as_str()) {
        return client.fail(format!("`last` is not the last row: {fin}"));
    }
    let is_complete = matches!(fin.attr("complete"), Some("true" | "1"));
    Ok(Page { rows, is_complete })
}

fn row(result: &Element) -> Option<Row> {
    let message = result.child(FORWARD, "forwarded")?.find("message")?;
    let key = message.attr("id").and_then(Key::parse)?;
    Some(Row { uid: result.attr("id")?.to_owned(), key })
}

fn own(client: &Client) -> String {
    client.jid.split('/').next().unwrap_or_default().to_owned()
}

const PAGE_ROWS: usize = 100;
const FORWARD: &str = "urn:xmpp:forward:0";
pub const MAM: &str = "urn:xmpp:mam:2";
pub const RSM: &str = "http://jabber.org/protocol/rsm";
