//! A stream gets its place in the registry: a resource is bound (RFC 6120 §7), or with it all that a
//! client wants at its start (XEP-0386).

use std::sync::Arc;

use super::Context;
use super::binding::Binding;
use super::bound::Session;
use super::negotiate::Negotiation;
use super::stage::{Admitted, Stage, Switched};
use crate::base::credential::AgentId;
use crate::base::hash::hmac_sha256;
use crate::base::id::{self, OsRng};
use crate::jid::{BareJid, FullJid};
use crate::modules::SessionState;
use crate::modules::api::{Client, Cx};
use crate::router::outbox::Outbox;
use crate::router::owed::Claim;
use crate::router::registry::{Bound, Conflict, Resource};
use crate::stanza::{Condition, StanzaError};
use crate::store::mailbox::Place;
use crate::stream::c2s::{BindRequest, Entry};
use crate::stream::framing::Item;
use crate::stream::sm::{self, Command};
use crate::stream::{error::StreamError, features};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

impl Negotiation {
    /// RFC 6120 §7: binds the wanted resource or one of our making.
    pub(super) async fn bind(&mut self, wanted: Option<String>) -> Result<FullJid, StanzaError> {
        let name = wanted.unwrap_or_else(made);
        let binding = self.take_place(name, self.context.conflict).await?;
        Ok(self.is_bound(binding, None))
    }

    fn is_bound(&mut self, binding: Binding, switched: Option<Box<Switched>>) -> FullJid {
        let full = binding.client.jid.clone();
        self.stage = Stage::Bound { binding, switched };
        full
    }

    /// XEP-0386 §3.2. The address, and what of `<bound/>` the store had to be asked for.
    pub(super) async fn bind2(
        &mut self,
        bind: BindRequest,
    ) -> Result<(FullJid, Vec<u8>, Element), StanzaError> {
        let admitted = self.stage.admitted().ok_or_else(StanzaError::not_allowed)?;
        let name = self.resource_of(admitted, bind.tag.as_deref());
        // Our name for this very client: whoever has it still makes room.
        let binding = self.take_place(name, Conflict::Replace).await?;
        self.end_earlier(&binding);
        // XEP-0386 §1: what is archived after the client is told of the archive reaches it by itself.
        let switched = Switched::by(&self.context, &binding.cx, &bind.request);
        self.forget_archived(&binding);
        let told = self.context.pipeline.bound(&binding.cx).await;
        Ok((self.is_bound(binding, Some(Box::new(switched))), told, bind.request))
    }

    /// XEP-0386 §3.2.1: the tag, and an identifier that is the same for the next login of this very
    /// client. It says nothing of the user agent's id, which it must not.
    fn resource_of(&self, admitted: &Admitted, tag: Option<&str>) -> String {
        let Admitted { bare, agent, .. } = admitted;
        let tag = tag.filter(|tag| !tag.is_empty());
        let identifier = match agent {
            Some(agent) => stable(&self.context, bare, *agent, tag.unwrap_or_default()),
            None => made(),
        };
        let tagged = tag.map(|tag| [tag, "/", &identifier].concat());
        // A tag that cannot stand in a resource is left out.
        tagged.filter(|name| bare.with_resource(name).is_ok()).unwrap_or(identifier)
    }

    /// XEP-0386 §3.2: the client has left its earlier sessions behind, asleep or not.
    fn end_earlier(&self, binding: &Binding) {
        let admitted = self.stage.admitted().filter(|who| who.login.is_some());
        let Some(Admitted { bare, agent: Some(agent), .. }) = admitted else { return };
        let (router, this) = (&self.context.router, binding.client.session);
        for earlier in router.registry.unbind_agent(bare.as_str(), *agent, this) {
            self.context.pipeline.gone(&binding.cx, &earlier.resource);
            let why = StreamError::Conflict.text("replaced by a new session of this client");
            router.superseded(&earlier, why);
        }
        router.ended(bare.as_str());
    }

    /// XEP-0386 §3.2: what waited is not sent to a client that reads the archive. What no archive has
    /// it gets as everybody does.
    fn forget_archived(&self, binding: &Binding) {
        let router = &self.context.router;
        let session = binding.client.session;
        let archived = binding.cx.own(|user| {
            let is_archived = |claim: &Claim| claim.place == Place::Archive;
            let (archived, others): (Vec<_>, Vec<_>) =
                user.claim_waiting(session).into_iter().partition(is_archived);
            // What other devices sleep with stays owed to them; held here too, it is not sent here.
            let slept = user.claim(session).into_iter().filter(|claim| !is_archived(claim));
            for claim in others.into_iter().chain(slept) {
                user.owed.release(claim.seq, session);
            }
            archived.iter().map(|claim| claim.seq).collect::<Vec<_>>()
        });
        router.confirm(binding.client.jid.bare_str(), &archived.unwrap_or_default());
    }

    /// A place in the registry: dropped, it is given back.
    async fn take_place(
        &mut self,
        mut name: String,
        conflict: Conflict,
    ) -> Result<Binding, StanzaError> {
        let admitted = self.stage.admitted().ok_or_else(StanzaError::not_allowed)?;
        let Admitted { bare, login, agent } = admitted;
        if login.is_some() {
            // The entry may have been evicted since the login.
            self.context.router.load(bare).await?;
        }
        for _ in 0..RENAMES_MAX {
            let full = bare.with_resource(&name).map_err(|_| StanzaError::bad_request())?;
            let router = &self.context.router;
            let session = router.next_session();
            let outbox = Arc::new(Outbox::new(router.limits.outbox_bytes_max));
            let mut resource = Resource::new(full.clone(), session, outbox.clone());
            resource.agent = agent.filter(|_| login.is_some());
            let max = router.limits.resources_per_account;
            match router.registry.bind(resource, login.is_none(), conflict, max) {
                Bound::Done(home, replaced) => {
                    let (account, channel) = (admitted.account(), self.channel());
                    let client = Client { jid: full, account, session, outbox, home, channel };
                    let binding = Binding::new(self.context.clone(), client);
                    if let Some(replaced) = replaced {
                        self.context.pipeline.gone(&binding.cx, &replaced.resource);
                        router.replaced(&replaced);
                    }
                    admitted.is_welcome(&self.context).await?;
                    return Ok(binding);
                }
                Bound::Taken if conflict == Conflict::Refuse => {
                    return Err(StanzaError::conflict());
                }
                Bound::Taken => name = format!("{name}-{}", made()),
                Bound::TooMany => {
                    return Err(StanzaError::resource_constraint()
                        .text("too many sessions of this account"));
                }
                Bound::Gone => return Err(StanzaError::not_allowed()),
            }
        }
        Err(StanzaError::conflict())
    }
}

impl Switched {
    fn by(context: &Context, cx: &Cx, request: &Element) -> Self {
        let mut state = SessionState::default();
        let doc = request.view();
        let bind = doc.root().child(ns::BIND2, "bind");
        let wanted = bind.into_iter().flat_map(Node::children);
        let wanted = wanted.filter(|wanted| wanted.ns() != ns::SM);
        let answers =
            wanted.map(|wanted| context.pipeline.inline(cx, &mut state, wanted)).collect();
        Self { state, answers }
    }
}

impl Session {
    /// XEP-0386 §3.2: switches on the rest of what was asked for, and says `<success/>`.
    pub(super) fn enter(&mut self, entry: &Entry, switched: Option<Box<Switched>>) {
        let mut inner = Vec::new();
        let Switched { state, answers } = switched.map(|it| *it).unwrap_or_default();
        self.state = state;
        let mut answers = answers.into_iter();
        let doc = entry.request.view();
        let bind = doc.root().child(ns::BIND2, "bind");
        for wanted in bind.into_iter().flat_map(Node::children) {
            match wanted.ns() {
                ns::SM => inner.extend_from_slice(&self.manage(wanted)),
                _ => inner.extend(answers.next().unwrap_or_default()),
            }
        }
        inner.extend_from_slice(&entry.told);
        let mut bound = Xml::new();
        bound.start("bound").attr("xmlns", ns::BIND2).raw(&inner).end();
        self.link.wire.queue(entry.success.with(&entry.full, &bound.finish()).into());
        let policy = self.binding.context().policy.clone();
        let managed = self.sm.is_some();
        let features = features::bound(&policy.bind_features, &policy.limits, managed);
        self.link.wire.say(Item::Features(features));
    }

    /// XEP-0198 §9.1: what is said in `<bound/>`.
    fn manage(&mut self, wanted: Node<'_>) -> Vec<u8> {
        match Command::of(wanted.name(), |name| wanted.attr(name).map(Into::into)) {
            Ok(Command::Enable { resume, max }) if self.sm.is_none() => {
                self.enable(resume, max).into()
            }
            // A second one. COMPAT(xmpp.js): a <failed/> behind the <enabled/> makes it drop the session.
            Ok(Command::Enable { .. }) => Vec::new(),
            Ok(_) => sm::failed(Condition::UnexpectedRequest, None).into(),
            Err(_) => sm::failed(Condition::BadRequest, None).into(),
        }
    }
}

fn made() -> String {
    id::short(&mut OsRng)
}

fn stable(context: &Context, bare: &BareJid, agent: AgentId, tag: &str) -> String {
    let parts = [b"resource\0", bare.as_str().as_bytes(), b"\0", agent.bytes(), tag.as_bytes()];
    let mac = hmac_sha256(&context.policy.secret, &parts);
    id::of_bits(mac.first_chunk().copied().unwrap_or_default())
}

const RENAMES_MAX: usize = 4;
