//! The user's devices (XEP-0388 §2.3), which may log in by tokens (XEP-0484). Ad-hoc commands (XEP-0050) list
//! and revoke them, and old ones are forgotten.

mod access;
mod owned;

use std::time::Duration;

use owned::known;

use super::api::{
    Answers, Cause, Command, Cx, Effect, IqRoute, Module, Note, On, PeriodicJob, Spec,
    StageOutcome, Target,
};
use crate::base::credential::AgentId;
use crate::base::time::{from_micros, micros, stamp};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::stanza::iq::IqType;
use crate::store::devices::{self, Device};
use crate::store::tokens;
use crate::store::tx::Tx;
use crate::stream::error::StreamError;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "devices",
    specs: &[
        Spec::whole("XEP-0484", "0.2.0", "features/fast.rs"),
        Spec::whole("XEP-0494", "0.1.0", "transcripts/0494-clients.scs"),
    ],
    features: &[On::Account(access::NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: access::NS,
            name: "list",
            targets: &[Target::Own],
            handler: |cx, _| Box::pin(access::list(cx)),
        },
        IqRoute {
            ty: IqType::Set,
            ns: access::NS,
            name: "revoke",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(access::revoke(cx, iq)),
        },
    ],
    commands: &[
        Command {
            node: LIST,
            name: "List my devices",
            allowed: owns_devices,
            run: |cx, _| Box::pin(list(cx)),
        },
        Command {
            node: REVOKE,
            name: "Log devices out",
            allowed: owns_devices,
            run: |cx, stages| Box::pin(revoke(cx, stages)),
        },
    ],
    every: Some((Duration::from_secs(3_600), |job| Box::pin(forget(job)))),
    ..Module::EMPTY
};

/// `[modules.devices]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of devices that are remembered for one account.
    pub per_account: u32,
    /// Days for which a token can be used to log in; 0: no tokens are issued.
    pub token_days: u32,
    /// Hours after which a login by token gets a new token.
    pub rotate_hours: u32,
    /// Days without a login after which a device is forgotten.
    pub forget_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { per_account: 32, token_days: 21, rotate_hours: 24, forget_days: 365 }
    }
}

fn owns_devices(cx: &Cx) -> bool {
    cx.account().is_ok()
}

/// Lists the devices for the account's owner only (XEP-0388 §2.3).
async fn list(cx: Cx) -> Result<StageOutcome, StanzaError> {
    let devices = known(&cx).await?;
    if devices.is_empty() {
        return Ok(StageOutcome::done(Note::info("No client has told which device it is on.")));
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Result, "My devices");
    form::reported(
        &mut xml,
        &[
            ("device", "Device"),
            ("software", "Software"),
            ("name", "Runs on"),
            ("online", "Sessions"),
            ("first-seen", "First seen"),
            ("last-seen", "Last seen"),
            ("token-until", "Can log in without a password until"),
        ],
    );
    for device in &devices {
        let date = |at| stamp(from_micros(at));
        let (online, this) = sessions(&cx, &device.agent);
        let online = format!("{online}{}", if this { " (this one)" } else { "" });
        form::item(
            &mut xml,
            &[
                ("device", &device.agent.name()),
                ("software", &device.software),
                ("name", &device.name),
                ("online", &online),
                ("first-seen", &date(device.first_seen)),
                ("last-seen", &date(device.last_seen)),
                ("token-until", &device.token_until.map(date).unwrap_or_default()),
            ],
        );
    }
    xml.end();
    Ok(StageOutcome::Done { form: xml.finish().into(), note: None, effect: None })
}

/// The first stage chooses the devices, the second logs them out.
async fn revoke(cx: Cx, stages: Vec<Answers>) -> Result<StageOutcome, StanzaError> {
    let devices = known(&cx).await?;
    let Some(answers) = stages.first() else { return Ok(which(&devices)) };
    let wanted = answers.get(FIELD);
    let fits = |name: &String| devices.iter().find(|device| device.agent.name() == *name);
    let found: Option<Vec<AgentId>> =
        wanted.iter().map(|name| fits(name).map(|device| device.agent)).collect();
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        let unknown = StanzaError::bad_request().text("choose among the devices of the form");
        return Err(unknown.application(ns::COMMANDS, "bad-payload"));
    };
    // Runs to the end even if the client disconnects: the sessions of revoked devices must end.
    cx.clone().finish("devices revoked", log_out(cx, found)).await
}

fn which(devices: &[Device]) -> StageOutcome {
    if devices.is_empty() {
        return StageOutcome::done(Note::info("No client has told which device it is on."));
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Log devices out");
    xml.element(
        "instructions",
        None,
        "Their sessions end, and they can log in with the password only. Whoever knows the password \
         can come back: change it if a device was stolen.",
    );
    let label = |device: &Device| {
        let said = [&*device.software, &*device.name];
        let said = said.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join(", ");
        let said = if said.is_empty() { device.agent.name() } else { said };
        format!("{said} (last seen {})", stamp(from_micros(device.last_seen)))
    };
    let options: Vec<_> =
        devices.iter().map(|device| (label(device), device.agent.name())).collect();
    form::choice(&mut xml, "list-multi", FIELD, "Devices", &options);
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

async fn log_out(cx: Cx, found: Vec<AgentId>) -> Result<StageOutcome, StanzaError> {
    let account = cx.account()?;
    let agents = found.clone();
    let write = cx.store.write(move |tx| {
        agents.iter().try_for_each(|agent| devices::revoke(tx, account, agent).map(drop))
    });
    write.await?;
    let (bare, own) = (cx.bare(), cx.session());
    let why = StreamError::NotAuthorized.text("the device was revoked");
    let mut effect = None;
    for agent in &found {
        if sessions(&cx, agent).1 {
            effect = Some(Effect::DeviceRevoked);
        }
        cx.router.end_device(bare.as_str(), agent, own, &why);
    }
    let note = Note::info(match found.len() {
        1 => "The device is logged out.".to_owned(),
        more => format!("{more} devices are logged out."),
    });
    Ok(StageOutcome::Done { form: Vec::new(), note: Some(note), effect })
}

/// The number of the account's sessions on this device, and whether the requesting one is among them.
fn sessions(cx: &Cx, agent: &AgentId) -> (usize, bool) {
    let seen = cx.own(|entry| {
        let of = entry.resources.iter().filter(|one| one.agent.as_ref() == Some(agent));
        let numbers: Vec<u64> = of.map(|resource| resource.session).collect();
        (numbers.len(), numbers.contains(&cx.session()))
    });
    seen.unwrap_or_default()
}

/// Deletes tokens that expired long ago, and devices that were not seen for too long.
async fn forget(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    let now = micros(job.now);
    let expired = now.saturating_sub(EXPIRED_KEPT_DAYS * DAY);
    let unseen = now.saturating_sub(i64::from(job.config.devices.forget_days) * DAY);
    type Sweep = fn(&mut dyn Tx, i64, usize) -> Result<usize, crate::store::StoreError>;
    let sweeps: [(Sweep, i64); 2] = [(tokens::expire, expired), (devices::forget_before, unseen)];
    for (sweep, before) in sweeps {
        loop {
            match job.store.write(move |tx| sweep(tx, before, BATCH)).await {
                Ok(BATCH..) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old devices could not be forgotten; tried again later");
                    return;
                }
            }
        }
    }
}

const LIST: &str = "list-devices";
const REVOKE: &str = "revoke-devices";
const FIELD: &str = "devices";
const DAY: i64 = 86_400_000_000;
/// Days after its expiry during which the use of a token is answered with `credentials-expired` (XEP-0484
/// §4.2).
const EXPIRED_KEPT_DAYS: i64 = 30;
/// Maximum number of rows in one write.
const BATCH: usize = 500;

#[cfg(test)]
mod tests {
    use super::super::Config as All;
    use super::super::testing::{Server, ask, ask_for_effect};
    use super::*;
    use crate::router::outbox::End;
    use crate::store::devices::Seen;

    const COMMANDS: &str = "http://jabber.org/protocol/commands";

    async fn server() -> (Server, Cx) {
        let server = Server::new(All::default());
        let id = server.account("romeo", &[]).await;
        let put = move |tx: &mut dyn Tx| {
            for (at, agent, software) in [(1, "a", "Gajim"), (2, "b", "Dino & co")] {
                let seen = Seen::new(AgentId::of(agent), software, "", at * DAY);
                devices::put_seen(tx, id, &seen, 9)?;
            }
            Ok(())
        };
        server.store().write(put).await.unwrap();
        let cx = server.session("romeo@montague.example/orchard").await;
        (server, cx)
    }

    fn of_device(cx: &Cx, agent: &str) {
        cx.router.entry("romeo@montague.example", |entry| {
            entry.session_mut(cx.session()).unwrap().agent = Some(AgentId::of(agent));
        });
    }

    fn session_of(answer: &str) -> String {
        let doc = roxmltree::Document::parse(answer).unwrap();
        doc.root_element().attribute("sessionid").unwrap().to_owned()
    }

    fn submit(session: &str, names: &[String]) -> String {
        let values: String = names.iter().map(|name| format!("<value>{name}</value>")).collect();
        format!(
            "<command xmlns='{COMMANDS}' node='revoke-devices' sessionid='{session}'>\
             <x xmlns='jabber:x:data' type='submit'><field var='devices'>{values}</field></x>\
             </command>"
        )
    }

    #[tokio::test]
    async fn an_owner_sees_the_devices_and_nobody_else_does() {
        let (server, cx) = server().await;
        of_device(&cx, "b");
        let run = format!("<command xmlns='{COMMANDS}' node='list-devices'/>");
        for to in ["", "montague.example", "romeo@montague.example"] {
            let told = ask(&cx, "set", to, &run).await;
            assert!(
                told.contains("status='completed'") && told.contains("xml:lang='en'"),
                "{told}"
            );
            assert!(told.contains("<value>1 (this one)</value>"), "{told}");
            assert!(told.contains("<value>Dino &amp; co</value>"), "{told}");
            assert!(told.contains("<value>1970-01-02T00:00:00Z</value>"), "{told}");
            assert_eq!(told.matches("<item>").count(), 2);
        }
        server.account("tybalt", &[]).await;
        let other = server.session("tybalt@montague.example/x").await;
        assert_eq!(ask(&other, "set", "romeo@montague.example", &run).await, "service-unavailable");
        let none = ask(&other, "set", "", &run).await;
        assert!(none.contains("<note type='info'>") && !none.contains("Gajim"), "{none}");
        let guest = server.session("guest@montague.example/x").await;
        assert_eq!(ask(&guest, "set", "", &run).await, "forbidden");
    }

    #[tokio::test]
    async fn devices_are_revoked_with_their_sessions() {
        let (server, cx) = server().await;
        let (one, two) = (
            server.session("romeo@montague.example/one").await,
            server.session("romeo@montague.example/two").await,
        );
        of_device(&cx, "b");
        of_device(&one, "a");
        of_device(&two, "b");
        let begin = format!("<command xmlns='{COMMANDS}' node='revoke-devices'/>");
        let form = ask(&cx, "set", "", &begin).await;
        assert!(form.contains("<actions execute='complete'><complete/></actions>"), "{form}");
        let (session, name) = (session_of(&form), |agent| AgentId::of(agent).name());
        assert!(form.contains(&format!("<value>{}</value>", name("a"))), "{form}");
        for wrong in [vec![], vec!["nonsense".to_owned()], vec![name("a"), name("c")]] {
            assert_eq!(ask(&cx, "set", "", &submit(&session, &wrong)).await, "bad-request");
        }
        // Another stream cannot use the command's session.
        let ask_one = submit(&session, &[name("a")]);
        assert_eq!(ask(&one, "set", "", &ask_one).await, "not-allowed");
        let (done, effect) = ask_for_effect(&cx, "set", "", &ask_one).await;
        assert!(done.contains("The device is logged out.") && effect.is_none(), "{done}");
        let ended = |cx: &Cx| {
            let end = cx.client().unwrap().outbox.take(9, 9).end;
            matches!(end, Some(End::Failure(_)))
        };
        assert!(ended(&one) && !ended(&two) && !ended(&cx));
        assert_eq!(ask(&cx, "set", "", &ask_one).await, "not-allowed", "it is over");
        // Revoking the device in use: the answer is sent before the stream ends.
        let session = session_of(&ask(&cx, "set", "", &begin).await);
        let (_, effect) = ask_for_effect(&cx, "set", "", &submit(&session, &[name("b")])).await;
        assert_eq!(effect, Some(Effect::DeviceRevoked));
        assert!(ended(&two) && !ended(&cx));
        let none = ask(&cx, "set", "", &begin).await;
        assert!(none.contains("status='completed'"), "{none}");
    }

    /// XEP-0494 §3.2: what knows the password stays until there is another one.
    #[tokio::test]
    async fn access_by_password_ends_with_the_password() {
        let (server, cx) = server().await;
        of_device(&cx, "b");
        let account = cx.account().unwrap();
        let list = || ask(&cx, "get", "", "<list xmlns='urn:xmpp:cam:0'/>");
        let id = |agent| AgentId::of(agent).name();
        let revoke = |id: &str| format!("<revoke xmlns='urn:xmpp:cam:0' id='{id}'/>");
        let told = list().await;
        assert_eq!(told.matches("<client ").count(), 2, "{told}");
        let a = format!("<client connected='false' id='{}' type='session'>", id("a"));
        assert!(told.contains(&a), "{told}");
        assert!(told.contains(&format!("connected='true' id='{}'", id("b"))), "{told}");
        assert!(told.contains("<user-agent><software>Dino &amp; co</software></user-agent>"));
        assert!(told.contains("<auth><password/></auth><permission status='unrestricted'/>"));
        for (wanted, want) in [
            (id("a"), "service-unavailable"),
            (id("b"), "service-unavailable"),
            (id("c"), "item-not-found"),
            (String::new(), "bad-request"),
        ] {
            assert_eq!(ask(&cx, "set", "", &revoke(&wanted)).await, want, "{wanted}");
        }
        let unnamed = server.session("romeo@montague.example/old").await;
        let session = format!("session-{}", unnamed.session());
        assert!(list().await.contains(&session));
        assert_eq!(ask(&cx, "set", "", &revoke(&session)).await, "service-unavailable");
        // Its own session stays where the owner changes the password.
        let change =
            move |tx: &mut dyn Tx| crate::store::accounts::set_keys(tx, account, &[]).map(drop);
        server.store().write(change).await.unwrap();
        let told = list().await;
        assert!(!told.contains(&a) && told.contains(&id("b")), "{told}");
        assert_eq!(ask(&cx, "set", "", &revoke(&id("a"))).await, "");
        assert_eq!(ask(&cx, "set", "", &revoke(&id("a"))).await, "item-not-found");
        // Nobody else's.
        server.account("tybalt", &[]).await;
        let other = server.session("tybalt@montague.example/x").await;
        let to = "romeo@montague.example";
        assert_eq!(ask(&other, "set", to, &revoke(&id("b"))).await, "service-unavailable");
        let told = ask(&other, "get", "", "<list xmlns='urn:xmpp:cam:0'/>").await;
        assert!(!told.contains(&id("b")), "{told}");
    }

    #[tokio::test]
    async fn commands_are_shown_to_those_who_may_run_them() {
        let (server, cx) = server().await;
        let items =
            format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>");
        let info = |node: &str| {
            format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>")
        };
        for (to, jid) in [
            ("", "romeo@montague.example"),
            ("romeo@montague.example", "romeo@montague.example"),
            ("montague.example", "montague.example"),
        ] {
            let told = ask(&cx, "get", to, &items).await;
            let item = format!("<item jid='{jid}' node='list-devices' name='List my devices'/>");
            assert!(told.contains(&item), "{told}");
            let told = ask(&cx, "get", to, &info(COMMANDS)).await;
            assert!(told.contains("category='automation' type='command-list'"), "{told}");
            let told = ask(&cx, "get", to, &info("revoke-devices")).await;
            assert!(told.contains("category='automation' type='command-node'"), "{told}");
            assert!(told.contains("'jabber:x:data'") && told.contains("Log devices out"), "{told}");
            assert_eq!(ask(&cx, "get", to, &info("nonsense")).await, "item-not-found");
        }
        let guest = server.session("guest@montague.example/x").await;
        let told = ask(&guest, "get", "montague.example", &items).await;
        assert!(!told.contains("<item"), "{told}");
        let told = ask(&guest, "get", "montague.example", &info("list-devices")).await;
        assert_eq!(told, "forbidden");
    }
}
