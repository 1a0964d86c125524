//! Clients that say by their capabilities (XEP-0115) what they want to hear of.

use super::client::{Client, Outcome};
use super::process::Lab;
use stonechat::base::hash::{base64, sha1};

const INFO: &str = "http://jabber.org/protocol/disco#info";

/// Features of a client that wants the news of these nodes, sorted.
fn features(nodes: &[&str]) -> Vec<String> {
    let wanted = nodes.iter().map(|node| format!("{node}+notify"));
    let mut all: Vec<String> = wanted.chain([INFO.to_owned()]).collect();
    all.sort();
    all
}

/// XEP-0115 §5.1
fn hash(features: &[String]) -> String {
    let text: String = ["client/pc//test<".to_owned()]
        .into_iter()
        .chain(features.iter().map(|feature| format!("{feature}<")))
        .collect();
    base64(&sha1(text.as_bytes()))
}

pub trait Interest {
    /// Broadcasts presence with these capabilities, and answers what the server asks about them from now on.
    async fn presence(&mut self, nodes: &[&str], more: &str) -> Outcome<()>;
}

impl Interest for Client {
    async fn presence(&mut self, nodes: &[&str], more: &str) -> Outcome<()> {
        let features = features(nodes);
        let ver = hash(&features);
        let c = format!(
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:test' ver='{ver}'/>"
        );
        let own = self.jid.clone();
        let vars = features.iter().map(|feature| format!("<feature var='{feature}'/>"));
        let identity = "<identity category='client' type='pc' name='test'/>".to_owned();
        self.info = Some([identity].into_iter().chain(vars).collect());
        self.send(&format!("<presence>{more}{c}</presence>")).await?;
        self.expect(|e| e.name == "presence" && e.attr("from") == Some(&*own)).await.map(drop)
    }
}

/// A session that is online and wants the news of these nodes.
pub async fn interested(lab: &Lab, user: &str, resource: &str, nodes: &[&str]) -> Outcome<Client> {
    let mut client = lab.login_as(user, resource).await?;
    client.ask("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await?;
    client.presence(nodes, "").await?;
    Ok(client)
}

/// Subscribes each to the other's presence.
pub async fn befriend(a: &mut Client, b: &mut Client) -> Outcome<()> {
    for _ in 0..2 {
        let to = b.jid.split('/').next().unwrap_or_default().to_owned();
        a.send(&format!("<presence type='subscribe' to='{to}'/>")).await?;
        b.expect(|e| e.attr("type") == Some("subscribe")).await?;
        let to = a.jid.split('/').next().unwrap_or_default().to_owned();
        b.send(&format!("<presence type='subscribed' to='{to}'/>")).await?;
        b.fence().await?;
        let from = b.jid.clone();
        a.expect(|e| e.name == "presence" && e.attr("from") == Some(&*from)).await?;
        std::mem::swap(a, b);
    }
    a.fence().await?;
    b.fence().await?;
    Ok(())
}
