//! XEP-0084: User Avatar, the same in vcard-temp and presence (XEP-0153, XEP-0398).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::{befriend, interested};
use crate::harness::nodes::{PUBSUB, has_feature, hears, items, published, succeeded};
use crate::harness::process::Lab;
use stonechat::base::hash::{base64, sha1};

const DATA: &str = "urn:xmpp:avatar:data";
const METADATA: &str = "urn:xmpp:avatar:metadata";
const UPDATE: &str = "vcard-temp:x:update";

/// A PNG of 3 by 2 pixels, as far as anybody looks: its id and its Base64.
fn image(seed: u8) -> (String, String) {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02\x08".to_vec();
    bytes.push(seed);
    let id = sha1(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (id, base64(&bytes))
}

/// Publishes an image as XEP-0084 §3 says.
async fn show(client: &mut Client, (id, data): &(String, String)) -> Outcome<()> {
    published(client, DATA, &format!("<item id='{id}'><data xmlns='{DATA}'>{data}</data></item>"))
        .await?;
    let info = format!("<info bytes='34' id='{id}' type='image/png'/>");
    published(
        client,
        METADATA,
        &format!("<item id='{id}'><metadata xmlns='{METADATA}'>{info}</metadata></item>"),
    )
    .await
}

async fn set_photo(client: &mut Client, photo: &str) -> Outcome<Element> {
    client
        .ask(&format!(
            "<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>A</FN>{photo}</vCard></iq>"
        ))
        .await
}

fn photo((_, data): &(String, String)) -> String {
    format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>\n{data}\n</BINVAL></PHOTO>")
}

/// The Base64 of the photo in the vCard of an account.
async fn photo_of(client: &mut Client, of: &str) -> Outcome<Option<String>> {
    let answer = client
        .ask(&format!("<iq type='get' id='v' to='{of}'><vCard xmlns='vcard-temp'/></iq>"))
        .await?;
    Ok(answer.find("BINVAL").map(|data| data.text.trim().to_owned()))
}

/// What presence says of the image: nothing, or `!` and the hash.
fn hash(presence: &Element) -> Option<String> {
    let photo = presence.child(UPDATE, "x")?.child(UPDATE, "photo");
    Some(format!("!{}", photo.map_or("?", |photo| photo.text.trim())))
}

/// The presence that comes from this session next.
async fn presence(client: &mut Client, from: &str) -> Outcome<Option<String>> {
    let came = client.expect(|e| e.name == "presence" && e.attr("from") == Some(from)).await?;
    Ok(hash(&came))
}

/// Case L10: whichever a client writes, the others see it.
#[tokio::test]
async fn avatars_in_all_forms_are_one() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &[METADATA]).await?;
    befriend(&mut alice, &mut bob).await?;
    bob.forget();
    assert!(has_feature(&mut alice, "urn:xmpp:pep-vcard-conversion:0").await?);
    let (one, two) = (image(1), image(2));

    show(&mut alice, &one).await?;
    assert_eq!(hears(&mut bob, METADATA).await?.0, one.0);
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{}", one.0)));
    assert_eq!(photo_of(&mut bob, "alice@localhost").await?.as_ref(), Some(&one.1));

    succeeded(&set_photo(&mut alice, &photo(&two)).await?);
    let (id, metadata) = hears(&mut bob, METADATA).await?;
    let info = metadata.child(METADATA, "info").unwrap();
    assert_eq!(
        (id.as_str(), info.attr("id"), info.attr("type")),
        (&*two.0, Some(&*two.0), Some("image/png"))
    );
    assert_eq!(
        (info.attr("bytes"), info.attr("width"), info.attr("height")),
        (Some("26"), Some("3"), Some("2"))
    );
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{}", two.0)));
    let data = items(&mut bob, "alice@localhost", DATA).await?;
    assert_eq!(
        data.iter().map(|(id, data)| (id, data.text.trim())).next_back(),
        Some((&two.0, &*two.1))
    );
    assert_eq!(photo_of(&mut alice, "alice@localhost").await?.as_ref(), Some(&two.1));

    // XEP-0153 §4.2 rule 2: the same photo again is no news.
    bob.fence().await?;
    bob.forget();
    succeeded(&set_photo(&mut alice, &photo(&two)).await?);
    bob.nothing().await?;

    // XEP-0084 §3.5 in the one, no photo in the other.
    published(&mut alice, METADATA, &format!("<item><metadata xmlns='{METADATA}'/></item>"))
        .await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some("!".to_owned()));
    assert_eq!(photo_of(&mut bob, "alice@localhost").await?, None);
    show(&mut alice, &one).await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{}", one.0)));
    bob.fence().await?;
    bob.forget();
    succeeded(&set_photo(&mut alice, "").await?);
    let (_, metadata) = hears(&mut bob, METADATA).await?;
    assert_eq!(metadata.children, []);
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some("!".to_owned()));
    Ok(())
}

/// XEP-0398 §4: the server says the hash in presence, unless the client shows none.
#[tokio::test]
async fn presence_says_which_image_it_is() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &[]).await?;
    befriend(&mut alice, &mut bob).await?;
    bob.forget();
    let (one, two) = (image(1), image(2));
    let say = |x: &str| format!("<presence>{x}</presence>");
    let empty = format!("<x xmlns='{UPDATE}'/>");
    let none = format!("<x xmlns='{UPDATE}'><photo/></x>");
    alice.send(&say("")).await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, None, "there is no image");
    show(&mut alice, &one).await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{}", one.0)));
    let other = format!("<x xmlns='{UPDATE}'><photo>{}</photo></x>", two.0);
    for (said, heard) in [("", &*one.0), (&*empty, &*one.0), (&*none, ""), (&*other, &*one.0)] {
        alice.send(&say(said)).await?;
        assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{heard}")), "{said}");
    }
    // A session that shows none is not heard of when the image changes; it is in directed presence, too.
    alice.send(&say(&none)).await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some("!".to_owned()));
    show(&mut alice, &two).await?;
    bob.nothing().await?;
    let mut phone = lab.login_as("alice", "phone").await?;
    phone.send(&format!("<presence to='{}'/>", bob.jid)).await?;
    assert_eq!(presence(&mut bob, &phone.jid).await?, Some(format!("!{}", two.0)));
    phone.send("<presence/>").await?;
    assert_eq!(presence(&mut bob, &phone.jid).await?, Some(format!("!{}", two.0)));
    Ok(())
}

/// XEP-0153: what nobody may fetch any more is not told of; and a server that starts again knows the image.
#[tokio::test]
async fn presence_says_what_contacts_may_fetch() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &[]).await?;
    befriend(&mut alice, &mut bob).await?;
    let one = image(1);
    show(&mut alice, &one).await?;
    bob.fence().await?;
    bob.forget();
    for (model, heard) in [("whitelist", ""), ("presence", &*one.0)] {
        let field = format!("<field var='pubsub#access_model'><value>{model}</value></field>");
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{field}</x>");
        let configure = format!("<configure node='{DATA}'>{form}</configure>");
        let set = format!("<pubsub xmlns='{PUBSUB}#owner'>{configure}</pubsub>");
        succeeded(&alice.ask(&format!("<iq type='set' id='c'>{set}</iq>")).await?);
        assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{heard}")), "{model}");
    }
    lab.process.kill();
    drop(lab);
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "b").await?;
    let alice = lab.online("alice", "a").await?;
    assert_eq!(presence(&mut bob, &alice.jid).await?, Some(format!("!{}", one.0)));
    Ok(())
}

/// XEP-0398 §7: who may not see the avatar gets no photo. A photo that is none is refused.
#[tokio::test]
async fn who_sees_the_avatar_sees_the_photo() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &[]).await?;
    let one = image(1);
    show(&mut alice, &one).await?;
    assert_eq!(
        photo_of(&mut bob, "alice@localhost").await?,
        None,
        "a stranger, and the node is for contacts"
    );
    for (photo, condition) in [
        (
            "<PHOTO><TYPE>image/png</TYPE><BINVAL>not base 64!</BINVAL></PHOTO>".to_owned(),
            "bad-request",
        ),
        (
            format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{}</BINVAL></PHOTO>", base64(b"<svg/>")),
            "not-acceptable",
        ),
        (
            format!("<PHOTO><BINVAL>{}</BINVAL></PHOTO>", base64(&[0x89; 140_000])),
            "policy-violation",
        ),
    ] {
        let refused = set_photo(&mut alice, &photo).await?;
        assert_eq!(refused.condition(), Some(condition), "{photo:.80}");
    }
    assert_eq!(photo_of(&mut alice, "alice@localhost").await?, Some(one.1), "nothing was changed");
    // XEP-0398 §3.1: data that is not what its id says is no avatar.
    let (id, _) = image(3);
    show(&mut alice, &(id, image(4).1)).await?;
    assert_eq!(photo_of(&mut alice, "alice@localhost").await?, None);
    // A vCard is for all, and so is the photo that comes with it to an account that had no avatar.
    succeeded(&set_photo(&mut bob, &photo(&image(5))).await?);
    assert_eq!(photo_of(&mut alice, "bob@localhost").await?, Some(image(5).1));
    Ok(())
}
