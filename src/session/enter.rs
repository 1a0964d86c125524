//! Puts a stream's resource into the registry: by resource binding (RFC 6120 §7), or together with the other
//! features a client wants at its start (XEP-0386).

use std::sync::Arc;

use super::Context;
use super::binding::Binding;
use super::bound::Session;
use super::stage::{Admitted, Switched};
use crate::base::credential::AgentId;
use crate::base::hash::hmac_sha256;
use crate::base::id::{self, OsRng};
use crate::jid::BareJid;
use crate::modules::SessionState;
use crate::modules::api::{Channel, Client, Cx};
use crate::router::outbox::Outbox;
use crate::router::owed::Claim;
use crate::router::registry::{BindOutcome, Conflict, Resource};
use crate::stanza::{Condition, StanzaError};
use crate::store::mailbox::StoredIn;
use crate::stream::c2s::{BindRequest, Entry};
use crate::stream::framing::Item;
use crate::stream::sm::{self, Command};
use crate::stream::{error::StreamError, features};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

impl Admitted {
    /// RFC 6120 §7: binds the requested resource, or a generated one.
    pub(super) async fn bind(
        &self,
        context: &Arc<Context>,
        channel: Channel,
        wanted: Option<String>,
    ) -> Result<Binding, StanzaError> {
        let name = wanted.unwrap_or_else(made);
        self.take_resource(context, channel, name, context.conflict).await
    }

    /// XEP-0386 §3.2. Returns the binding, the features enabled with it, and the part of `<bound/>` that
    /// comes from the store.
    pub(super) async fn bind2(
        &self,
        context: &Arc<Context>,
        channel: Channel,
        bind: &BindRequest,
    ) -> Result<(Binding, Switched, Vec<u8>), StanzaError> {
        let name = self.resource(context, bind.tag.as_deref());
        // The name is generated for this very client, so an earlier session that still has it is replaced.
        let binding = self.take_resource(context, channel, name, Conflict::Replace).await?;
        self.end_earlier(context, &binding);
        // XEP-0386 §1: messages archived after `<bound/>` describes the archive are delivered live.
        let switched = Switched::by(context, &binding.cx, &bind.request);
        forget_archived(context, &binding);
        let told = context.pipeline.bound(&binding.cx).await;
        Ok((binding, switched, told))
    }

    /// XEP-0386 §3.2.1: the tag, and an identifier that is the same for the next login of this very client.
    /// It must not reveal the user agent's id, and does not.
    fn resource(&self, context: &Context, tag: Option<&str>) -> String {
        let tag = tag.filter(|tag| !tag.is_empty());
        let identifier = match self.agent {
            Some(agent) => stable(context, &self.bare, agent, tag.unwrap_or_default()),
            None => made(),
        };
        let tagged = tag.map(|tag| [tag, "/", &identifier].concat());
        // A tag that is not allowed in a resource is left out.
        tagged.filter(|name| self.bare.with_resource(name).is_ok()).unwrap_or(identifier)
    }

    /// XEP-0386 §3.2: ends the client's earlier sessions, hibernating or not.
    fn end_earlier(&self, context: &Context, binding: &Binding) {
        let (Some(agent), Some(_)) = (self.agent, &self.login) else { return };
        let (router, bare, this) = (&context.router, &self.bare, binding.client.session);
        for earlier in router.registry.unbind_agent(bare.as_str(), agent, this) {
            context.pipeline.resource_removed(&binding.cx, &earlier.resource);
            let why = StreamError::Conflict.text("replaced by a new session of this client");
            router.superseded(&earlier, why);
        }
        router.redeliver(bare.as_str());
    }

    /// Takes a resource in the registry; dropping the binding gives it back.
    async fn take_resource(
        &self,
        context: &Arc<Context>,
        channel: Channel,
        mut name: String,
        conflict: Conflict,
    ) -> Result<Binding, StanzaError> {
        let router = &context.router;
        if self.login.is_some() {
            // The entry may have been evicted since the login.
            router.load(&self.bare).await?;
        }
        for _ in 0..RENAMES_MAX {
            let full = self.bare.with_resource(&name).map_err(|_| StanzaError::bad_request())?;
            let session = router.next_session();
            let outbox = Arc::new(Outbox::new(router.limits.outbox_bytes_max));
            let mut resource = Resource::new(full.clone(), session, outbox.clone());
            resource.agent = self.agent.filter(|_| self.login.is_some());
            let max = router.limits.resources_per_account;
            match router.registry.bind(resource, self.login.is_none(), conflict, max) {
                BindOutcome::Done(home, replaced) => {
                    let account = self.account();
                    let client = Client { jid: full, account, session, outbox, home, channel };
                    let binding = Binding::new(context.clone(), client);
                    if let Some(replaced) = replaced {
                        context.pipeline.resource_removed(&binding.cx, &replaced.resource);
                        router.replaced(&replaced);
                    }
                    self.is_welcome(context).await?;
                    return Ok(binding);
                }
                BindOutcome::Taken if conflict == Conflict::Refuse => {
                    return Err(StanzaError::conflict());
                }
                BindOutcome::Taken => name = format!("{name}-{}", made()),
                BindOutcome::TooMany => {
                    return Err(StanzaError::resource_constraint()
                        .text("too many sessions of this account"));
                }
                BindOutcome::Gone => return Err(StanzaError::not_allowed()),
            }
        }
        Err(StanzaError::conflict())
    }
}

/// XEP-0386 §3.2: waiting messages are not sent to a client that reads the archive, except those that are in
/// no archive.
fn forget_archived(context: &Context, binding: &Binding) {
    let session = binding.client.session;
    let archived = binding.cx.own(|entry| {
        let is_archived = |claim: &Claim| claim.stored_in == StoredIn::Archive;
        let (archived, others): (Vec<_>, Vec<_>) =
            entry.claim_waiting(session).into_iter().partition(is_archived);
        // Rows claimed by hibernating sessions of other devices stay owed to them. Because this session holds
        // them too, they are not sent here.
        let hibernating = entry.claim(session).into_iter().filter(|claim| !is_archived(claim));
        for claim in others.into_iter().chain(hibernating) {
            entry.owed.release(claim.seq, session);
        }
        archived.iter().map(|claim| claim.seq).collect::<Vec<_>>()
    });
    context.router.confirm(binding.client.jid.bare_str(), &archived.unwrap_or_default());
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
    /// XEP-0386 §3.2: enables the other requested features, and sends `<success/>`.
    pub(super) fn enter(&mut self, entry: &Entry, switched: Option<Box<Switched>>) {
        let mut inner = Vec::new();
        let Switched { state, answers } = switched.map(|it| *it).unwrap_or_default();
        self.state = state;
        if self.binding.context().pipeline.is_quiet(&self.state) {
            self.show_quiet();
        }
        let mut answers = answers.into_iter();
        let doc = entry.request.view();
        let bind = doc.root().child(ns::BIND2, "bind");
        for wanted in bind.into_iter().flat_map(Node::children) {
            match wanted.ns() {
                ns::SM => inner.extend_from_slice(&self.enable_inline(wanted)),
                _ => inner.extend(answers.next().unwrap_or_default()),
            }
        }
        inner.extend_from_slice(&entry.told);
        let mut bound = Xml::new();
        bound.start("bound").attr("xmlns", ns::BIND2).raw(&inner).end();
        self.link.wire.queue(entry.success.with(&entry.full, &bound.finish()).into());
        let policy = self.binding.context().policy.clone();
        let sm_enabled = self.sm.is_some();
        let features = features::bound(&policy.bind_features, &policy.limits, sm_enabled);
        self.link.wire.say(Item::Features(features));
    }

    /// XEP-0198 §9.1: returns the answer that goes into `<bound/>`.
    fn enable_inline(&mut self, wanted: Node<'_>) -> Vec<u8> {
        match Command::of(wanted.name(), |name| wanted.attr(name).map(Into::into)) {
            Ok(Command::Enable { resume, max }) if self.sm.is_none() => {
                self.enable(resume, max).into()
            }
            // A second <enable/>. COMPAT(xmpp.js): a <failed/> after the <enabled/> makes it drop the
            // session.
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
