//! For admins: registrations that were disabled because their push services answered with errors (§7.1).

use super::super::api::{Answers, Command, Cx, Note, StageOutcome};
use crate::base::time::{from_micros, stamp};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::store::tx::{Row, StoreError, Tx, query_all};
use crate::xml::writer::Xml;

/// Lists the last ones.
pub const COMMAND: Command = Command {
    node: "push-failures",
    name: "Push services that failed",
    allowed: |cx| cx.role().is_admin(),
    run: |cx, _: Vec<Answers>| Box::pin(list(cx)),
};

struct Ended {
    account: String,
    service: String,
    failures: i64,
    error: String,
    at: i64,
}

fn read(row: &dyn Row) -> Result<Ended, StoreError> {
    let account = format!("{}@{}", row.text(0)?, row.text(1)?);
    let (service, failures) = (row.text(2)?, row.int(3)?);
    Ok(Ended { account, service, failures, error: row.text(4)?, at: row.int(5)? })
}

async fn list(cx: Cx) -> Result<StageOutcome, StanzaError> {
    let all = |tx: &mut dyn Tx| query_all(tx, LAST, &[LISTED_MAX.into()], read);
    let ended = cx.store.read(all).await?;
    if ended.is_empty() {
        return Ok(StageOutcome::done(Note::info("No push service failed within a month.")));
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Result, "Push services that failed");
    form::reported(
        &mut xml,
        &[
            ("account", "Account"),
            ("service", "Push service"),
            ("error", "Last error"),
            ("failures", "Errors in a row"),
            ("at", "Disabled"),
        ],
    );
    for one in &ended {
        form::item(
            &mut xml,
            &[
                ("account", &one.account),
                ("service", &one.service),
                ("error", &one.error),
                ("failures", &one.failures.to_string()),
                ("at", &stamp(from_micros(one.at))),
            ],
        );
    }
    xml.end();
    Ok(StageOutcome::Done { form: xml.finish().into(), note: None, effect: None })
}

/// Of the newest.
const LISTED_MAX: i64 = 200;

crate::store::sql! {
    LAST = "SELECT account.localpart, account.host, push.jid, push.failures, push.error, push.ended \
        FROM push JOIN account ON account.id = push.account WHERE push.ended > 0 \
        ORDER BY push.ended DESC LIMIT $1";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Server, ask};
    use super::super::registration;
    use crate::base::role::Role;
    use crate::jid::Jid;

    #[tokio::test]
    async fn an_admin_sees_what_failed() {
        let server = Server::with(&["a"]).await;
        let cx = server.session("a@x/1").await;
        let account = cx.account().unwrap();
        let run = "<command xmlns='http://jabber.org/protocol/commands' node='push-failures'/>";
        assert!(!ask(&cx, "set", "x", run).await.contains("No push service"), "a user's");
        cx.own(|entry| entry.role = Role::Operator);
        assert!(ask(&cx, "set", "x", run).await.contains("No push service"));
        let target = registration::Target {
            jid: Jid::parse("push.example").unwrap(),
            node: "n".to_owned(),
            options: String::new(),
            summary: registration::Summary::default(),
            device: None,
            resource: "1".to_owned(),
        };
        let write = server.store().write(move |tx| {
            let id = registration::enable(tx, account, &target, 0, 9)?.unwrap();
            registration::note(tx, id, 7, "item-not-found", Some(1))
        });
        write.await.unwrap();
        let told = ask(&cx, "set", "x", run).await;
        for part in ["a@x", "push.example", "item-not-found", "<value>7</value>"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
