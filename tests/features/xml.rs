//! The gate as clients meet it (RFC 6120 §11): what passes reads the same at the other end, and
//! what a strict parser would refuse never gets there.

use crate::harness::client::Outcome;
use crate::harness::process::{Lab, stream_error};

/// RFC 6120 §11.4 to §11.6: content arrives with its meaning, whatever it is made of. The judge is
/// an independent parser, which would refuse anything ill-formed.
#[tokio::test]
async fn well_formed_content_arrives_with_its_meaning() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let cases = [
        ("<body>&lt;&gt;&amp;&apos;&quot;</body>", "<>&'\""),
        ("<body>&#9;&#10;&#13;|&#x1F4A1;</body>", "\t\n\r|💡"),
        ("<body>a\r\nb\rc\nd</body>", "a\nb\nc\nd"),
        ("<body><![CDATA[<x>&amp;]]>!</body>", "<x>&amp;!"),
        ("<body>]] ></body>", "]] >"),
        ("<body\n\t>x</body >", "x"),
        ("<body>\u{FFFD}\u{E000}\u{10FFFF}</body>", "\u{FFFD}\u{E000}\u{10FFFF}"),
        ("<body>שלום \u{202E}x</body>", "שלום \u{202E}x"),
    ];
    for (sent, read) in cases {
        alice.send(&format!("<message to='{}'>{sent}</message>", alice.jid)).await?;
        let got = alice.expect(|e| e.name == "message").await?;
        assert_eq!(got.text_of("body"), Some(read), "{sent}");
    }
    // RFC 6120 §11.5, XML §3.3.3: white space in attributes, written by reference, survives.
    let attribute = "<x xmlns='urn:example' a='1&#9;2&#10;3&#13;4&lt;&quot;&apos;' b=\"'\"/>";
    alice.send(&format!("<message to='{}'>{attribute}</message>", alice.jid)).await?;
    let got = alice.expect(|e| e.name == "message").await?;
    let x = got.child("urn:example", "x").unwrap();
    assert_eq!((x.attr("a"), x.attr("b")), (Some("1\t2\n3\r4<\"'"), Some("'")));
    Ok(())
}

/// Namespaces in XML: prefixes of a payload, re-declared and nested, mean the same at the receiver.
#[tokio::test]
async fn namespaces_of_payloads_survive_the_way() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let payload = "<p:a xmlns:p='urn:one' p:q='1'><b xmlns='urn:two'><p:c xmlns:p='urn:three'/></b><p:d/></p:a>";
    let sent =
        format!("<message to='{}' xmlns:own='urn:own'><own:e/>{payload}</message>", alice.jid);
    alice.send(&sent).await?;
    let got = alice.receive().await?;
    let a = got.child("urn:one", "a").unwrap();
    assert_eq!(a.attr("{urn:one}q"), Some("1"));
    assert!(a.child("urn:two", "b").unwrap().child("urn:three", "c").is_some(), "{got}");
    assert!(a.child("urn:one", "d").is_some() && got.child("urn:own", "e").is_some(), "{got}");
    Ok(())
}

/// RFC 6120 §4.8.3: a stanza with the content namespace written out is the same stanza.
#[tokio::test]
async fn a_redundant_namespace_declaration_changes_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let to = alice.jid.clone();
    alice
        .send(&format!("<message xmlns='jabber:client' to=\"{to}\"><body>x</body></message>"))
        .await?;
    let got = alice.receive().await?;
    assert_eq!((got.ns.as_str(), got.text_of("body")), ("jabber:client", Some("x")));
    // §4.8.3: of another namespace it is no stanza of ours.
    alice.send("<message xmlns='urn:elsewhere'/>").await?;
    assert_eq!(stream_error(&mut alice).await?, "unsupported-stanza-type");
    Ok(())
}

/// What is refused reached nobody, and what was sent before it did.
#[tokio::test]
async fn a_refused_stanza_reaches_nobody() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let bad = [
        "<body>&undefined;</body>",
        "<body>\u{1}</body>",
        "<body>&#1;</body>",
        "<body>&#xD800;</body>",
        "<body>&#xFFFE;</body>",
        "<body>]]></body>",
        "<body a='<'/>",
        "<body a=1/>",
        "<body a='1'b='2'/>",
        "<1body/>",
        "<a:b:c xmlns:a='x'/>",
        "<body xmlns:x=''/>",
        "<body xmlns:xml='urn:wrong'/>",
        "<body xmlns:xmlns='urn:wrong'/>",
        "<xmlns:body/>",
        "<body xmlns:a='u' xmlns:b='u' a:x='' b:x=''/>",
        "<a></b></a>",
        "<!-- x -->",
        "<?x y?>",
        "<a><![CDATA[x</a>]]></message>",
    ];
    for (n, bad) in bad.iter().enumerate() {
        let mut alice = lab.login("alice").await?;
        let to = &bob.jid;
        let before = format!("<message to='{to}' id='before{n}'/>");
        alice.send(&format!("{before}<message to='{to}' id='bad{n}'>{bad}</message>")).await?;
        let condition = stream_error(&mut alice).await?;
        let known =
            ["not-well-formed", "restricted-xml", "bad-namespace-prefix", "invalid-namespace"];
        assert!(known.contains(&condition.as_str()), "{bad}: {condition}");
        let got = bob.receive().await?;
        assert_eq!(got.attr("id"), Some(format!("before{n}").as_str()), "{bad}");
    }
    bob.nothing().await
}

/// RFC 6120 §11.1 and security.md (billion laughs): no entity is ever declared, so none expands.
#[tokio::test]
async fn entities_are_neither_declared_nor_expanded() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let mut client = lab.dial().await?;
    let laughs = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>";
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                  to='localhost' version='1.0'>";
    client.send(&format!("<?xml version='1.0'?>{laughs}{header}")).await?;
    assert_eq!(stream_error(&mut client).await?, "restricted-xml");
    let mut client = lab.dial().await?;
    client.send(&header.replace("localhost", "&b;")).await?;
    let got = stream_error(&mut client).await?;
    assert!(["restricted-xml", "not-well-formed"].contains(&got.as_str()), "{got}");
    Ok(())
}
