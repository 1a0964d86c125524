//! Rooms (XEP-0045) as tests use them.

use super::client::{Client, Outcome};
use super::element::Element;
use super::process::Lab;

pub const MUC: &str = "http://jabber.org/protocol/muc";
pub const USER: &str = "http://jabber.org/protocol/muc#user";
pub const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
pub const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// The service's domain in a lab.
pub const SERVICE: &str = "conference.localhost";

/// A room's address in a lab.
pub fn at(room: &str) -> String {
    format!("{room}@{SERVICE}")
}

/// Says that it wants to enter; what comes of it is for the caller to see.
pub async fn knock(client: &mut Client, room: &str, nick: &str, x: &str) -> Outcome<()> {
    let to = format!("{}/{nick}", at(room));
    client.send(&format!("<presence to='{to}' id='in'><x xmlns='{MUC}'>{x}</x></presence>")).await
}

/// Enters, up to the subject; everything before that is in what is returned, the own presence and the subject too.
pub async fn enter(client: &mut Client, room: &str, nick: &str) -> Outcome<Vec<Element>> {
    knock(client, room, nick, "").await?;
    entered(client, room).await
}

/// What comes up to the subject.
pub async fn entered(client: &mut Client, room: &str) -> Outcome<Vec<Element>> {
    let (mut seen, room) = (Vec::new(), at(room));
    loop {
        let one = client.receive().await?;
        let is_its = one.attr("from").is_some_and(|from| from.split('/').next() == Some(&*room));
        if is_its && one.attr("type") == Some("error") {
            return client.fail(format!("not let in: {one}"));
        }
        let is_last = is_its && is_subject(&one);
        if is_its {
            seen.push(one);
        }
        if is_last {
            return Ok(seen);
        }
    }
}

pub fn is_subject(one: &Element) -> bool {
    one.name == "message" && one.find("subject").is_some() && one.find("body").is_none()
}

/// A room with this configuration, made by the client, which is in it as `nick`.
pub async fn found(
    client: &mut Client,
    room: &str,
    nick: &str,
    fields: &[(&str, &str)],
) -> Outcome<()> {
    let seen = enter(client, room, nick).await?;
    let own = seen.iter().find(|one| codes(one).contains(&"110".to_owned())).expect("own presence");
    assert!(codes(own).contains(&"201".to_owned()), "{own}");
    configure(client, room, fields).await.map(drop)
}

/// Sends a configuration; the answer.
pub async fn configure(
    client: &mut Client,
    room: &str,
    fields: &[(&str, &str)],
) -> Outcome<Element> {
    let fields: String = fields
        .iter()
        .map(|(var, value)| {
            let var =
                if var.contains('#') { (*var).to_owned() } else { format!("muc#roomconfig_{var}") };
            let values = value.split(',').map(|value| format!("<value>{value}</value>"));
            format!("<field var='{var}'>{}</field>", values.collect::<String>())
        })
        .collect();
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x>"
    );
    ask(client, "set", room, &format!("<query xmlns='{OWNER}'>{form}</query>")).await
}

/// A request to the room, and its answer.
pub async fn ask(client: &mut Client, ty: &str, room: &str, payload: &str) -> Outcome<Element> {
    let to = if room.contains(SERVICE) { room.to_owned() } else { at(room) };
    client.send(&format!("<iq type='{ty}' id='ask' to='{to}'>{payload}</iq>")).await?;
    client.expect(|e| e.name == "iq" && e.attr("id") == Some("ask")).await
}

/// Changes an affiliation or a role.
pub async fn set_item(client: &mut Client, room: &str, item: &str) -> Outcome<Element> {
    ask(client, "set", room, &format!("<query xmlns='{ADMIN}'>{item}</query>")).await
}

/// Says something to all.
pub async fn say(client: &mut Client, room: &str, id: &str, body: &str) -> Outcome<()> {
    let to = at(room);
    client
        .send(&format!(
            "<message type='groupchat' id='{id}' to='{to}'><body>{body}</body></message>"
        ))
        .await
}

/// The groupchat message with this id.
pub async fn hears(client: &mut Client, id: &str) -> Outcome<Element> {
    client.expect(|e| e.name == "message" && e.attr("id") == Some(id)).await
}

/// The status codes of a presence or a message.
pub fn codes(one: &Element) -> Vec<String> {
    let x = one.child(USER, "x");
    let codes = x.into_iter().flat_map(|x| &x.children).filter(|child| child.name == "status");
    codes.filter_map(|status| status.attr("code").map(str::to_owned)).collect()
}

/// `affiliation role` of the item in it.
pub fn item(one: &Element) -> Option<String> {
    let item = one.child(USER, "x")?.child(USER, "item")?;
    Some(format!("{} {}", item.attr("affiliation")?, item.attr("role")?))
}

/// The real address in it.
pub fn real(one: &Element) -> Option<&str> {
    one.child(USER, "x")?.child(USER, "item")?.attr("jid")
}

/// The nickname under which it comes.
pub fn nick(one: &Element) -> &str {
    one.attr("from").and_then(|from| from.split_once('/')).map_or("", |(_, nick)| nick)
}

/// The next presence of a nickname in a room.
pub async fn sees(client: &mut Client, room: &str, nick: &str) -> Outcome<Element> {
    let from = format!("{}/{nick}", at(room));
    client.expect(|e| e.name == "presence" && e.attr("from") == Some(&*from)).await
}

/// These users, online and in a room that the first of them made.
pub async fn gathering(
    lab: &Lab,
    room: &str,
    users: &[&str],
    fields: &[(&str, &str)],
) -> Outcome<Vec<Client>> {
    let mut all: Vec<Client> = Vec::new();
    for user in users {
        let mut client = lab.online(user, "r").await?;
        match all.is_empty() {
            true => found(&mut client, room, user, fields).await?,
            false => drop(enter(&mut client, room, user).await?),
        }
        for earlier in &mut all {
            sees(earlier, room, user).await?;
        }
        all.push(client);
    }
    for client in &mut all {
        client.forget();
    }
    Ok(all)
}
