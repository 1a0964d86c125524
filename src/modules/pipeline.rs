//! The module table made ready: hooks in phase order, the IQ index, and the handling of one stanza.

use std::sync::Arc;
use std::time::SystemTime;

use super::api::{
    AccountNodes, Answer, Answerer, ClientDelivery, Command, Cx, Follow, Identity, InfoForm,
    IqHandler, IqIndex, Module, NodeChanged, OnStanza, Pipeline, PresenceEffect, PresencePayload,
    PrivateXml, Release, Reply, Serves, Serving, SessionEnd, Stage, Target, Write,
};
use super::{Config, SessionState, Shared, caps};
use crate::jid::{BareJid, Jid};
use crate::router::outbox::Outgoing;
use crate::router::registry::{AccountEntry, Resource};
use crate::router::{Leads, ServiceId, rules};
use crate::stanza::iq::Iq;
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::xml::element::Child;
use crate::xml::view::Node;

impl Pipeline {
    /// Reads the table once, at start, which is `started`.
    pub fn build(
        modules: &'static [&'static Module],
        config: &Config,
        started: SystemTime,
    ) -> Arc<Self> {
        let services = serving(modules, config);
        let mut to_client = Vec::new();
        for module in modules {
            to_client
                .extend(module.to_client.iter().map(|(phase, hook)| (*phase, module.name, *hook)));
        }
        to_client.sort_by_key(|(phase, name, _)| (*phase, *name));
        let features = |stage| {
            let of = |module: &&Module| {
                module.stream_features.and_then(|feature| feature(config, stage))
            };
            modules.iter().copied().filter_map(|m| of(&m)).collect::<String>()
        };
        Arc::new(Self {
            iqs: index(modules, &services),
            instead: modules.iter().filter_map(|m| m.instead).collect(),
            to_client,
            quiet: modules.iter().filter_map(|m| m.quiet).collect(),
            hibernates: modules.iter().filter_map(|m| m.hibernates).collect(),
            instructions: modules.iter().flat_map(|m| m.instructions).copied().collect(),
            session_ended: modules.iter().filter_map(|m| m.session_ended).collect(),
            broadcast: modules.iter().filter_map(|m| m.broadcast).collect(),
            stamps: modules.iter().filter_map(|m| m.stamp).collect(),
            presence_changed: modules.iter().filter_map(|m| m.presence_changed).collect(),
            wanted_changed: modules.iter().filter_map(|m| m.wanted_changed).collect(),
            directed: modules.iter().filter_map(|m| m.directed).collect(),
            resource_removed: modules.iter().filter_map(|m| m.resource_removed).collect(),
            undelivered: modules.iter().filter_map(|m| m.undelivered).collect(),
            subscription_out: modules.iter().filter_map(|m| m.subscription_out).collect(),
            subscription_in: modules.iter().filter_map(|m| m.subscription_in).collect(),
            approved: modules.iter().filter_map(|m| m.approved).collect(),
            contact_changed: modules.iter().filter_map(|m| m.contact_changed).collect(),
            probe: modules.iter().filter_map(|m| m.probe).collect(),
            services,
            modules,
            authenticate_features: features(Stage::Authenticate),
            bind_features: features(Stage::Bind),
            started,
            shared: Shared::default(),
        })
    }

    /// Stream features of the modules for a stage.
    pub fn stream_features(&self, stage: Stage) -> &str {
        match stage {
            Stage::Authenticate => &self.authenticate_features,
            Stage::Bind => &self.bind_features,
        }
    }

    /// What can be switched on while a resource is bound, in the modules' order.
    pub fn inline_features(&self) -> Vec<&'static str> {
        self.modules.iter().flat_map(|module| module.inline).map(|inline| inline.ns).collect()
    }

    /// An element of a bind request; what is told of it. One that nobody knows is passed over.
    pub fn inline(&self, cx: &Cx, state: &mut SessionState, wanted: Node<'_>) -> Vec<u8> {
        let mut inline = self.modules.iter().flat_map(|module| module.inline);
        let known = inline.find(|inline| inline.ns == wanted.ns());
        known.map(|inline| (inline.handler)(cx, state, wanted)).unwrap_or_default()
    }

    /// What a client is told that just bound its resource with XEP-0386.
    pub async fn bound(&self, cx: &Cx) -> Vec<u8> {
        let mut told = Vec::new();
        let serves =
            |module: &&&Module| module.serves.is_none_or(|serves| serves(&cx.config, &cx.bare()));
        for hook in self.modules.iter().filter(serves).filter_map(|module| module.bound) {
            told.extend(hook(cx.clone()).await);
        }
        told
    }

    /// When the server started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// What modules keep for the whole server; a module reads its own.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What hosted domains are, in the order of XEP-0115 §5.1.
    pub fn identities(&self) -> Vec<Identity> {
        let all = self.modules.iter().flat_map(|module| module.identities.iter().copied());
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    }

    /// What accounts are, beside being accounts.
    pub fn account_identities(
        &self,
        config: &Config,
        account: &BareJid,
    ) -> impl Iterator<Item = Identity> {
        let has = |module: &&&Module| module.serves.is_none_or(|serves| serves(config, account));
        let all = self.modules.iter().filter(has).flat_map(|module| module.account_identities);
        all.copied()
    }

    /// Who answers service discovery for nodes of accounts.
    pub fn account_nodes(&self) -> impl Iterator<Item = AccountNodes> {
        self.modules.iter().filter_map(|module| module.nodes)
    }

    /// Who makes other nodes follow this one.
    pub fn mirrors(&self, node: &str) -> impl Iterator<Item = Follow> {
        let all = self.modules.iter().flat_map(|module| module.mirrors);
        all.filter(move |mirror| mirror.node == node).map(|mirror| mirror.follow)
    }

    /// Who has this element of private XML.
    pub fn private_xml(&self, ns: &str, name: &str) -> Option<&'static PrivateXml> {
        let mut all = self.modules.iter().flat_map(|module| module.private_xml);
        all.find(|one| one.ns == ns && one.name == name)
    }

    /// Who watches this node of accounts.
    pub fn watches(&self, node: &str) -> impl Iterator<Item = NodeChanged> {
        let all = self.modules.iter().flat_map(|module| module.watches);
        all.filter(move |watch| watch.node == node).map(|watch| watch.changed)
    }

    /// The features of hosted domains, in the order of XEP-0115 §5.1.
    pub fn server_features(&self, config: &Config) -> Vec<&'static str> {
        caps::server_features(self.modules, config)
    }

    /// The forms of hosted domains, in the order of XEP-0115 §5.1.
    pub fn server_forms(&self, config: &Config) -> Vec<InfoForm> {
        caps::server_forms(self.modules, config)
    }

    /// The features of an account.
    pub fn account_features(
        &self,
        config: &Config,
        account: &BareJid,
    ) -> impl Iterator<Item = &'static str> {
        let has = |module: &&&Module| module.serves.is_none_or(|serves| serves(config, account));
        let of = |module: &&'static Module| module.features.iter().filter_map(|on| on.account());
        self.modules.iter().filter(has).flat_map(of)
    }

    /// The features that every service has.
    pub fn service_features(&self) -> impl Iterator<Item = &'static str> {
        let all = self.modules.iter().flat_map(|module| module.features);
        all.filter_map(|on| on.service())
    }

    /// The commands of all modules (XEP-0050) that are offered there.
    pub fn commands(&self, at: Target) -> impl Iterator<Item = &'static Command> {
        let on_server = self.modules.iter().filter(move |_| at == Target::Server);
        let on_server = on_server.flat_map(|module| module.server_commands);
        self.modules.iter().flat_map(|module| module.commands).chain(on_server)
    }

    /// The command of this node.
    pub fn command(&self, at: Target, node: &str) -> Option<&'static Command> {
        self.commands(at).find(|command| command.node == node)
    }

    /// Runs the hooks on a stanza that is on its way to a session's client.
    pub fn to_client(
        &self,
        config: &Config,
        state: &mut SessionState,
        item: &Outgoing,
    ) -> ClientDelivery {
        let mut delivery = ClientDelivery::NOW;
        for (_, _, hook) in &self.to_client {
            let ClientDelivery { before, now } = hook(config, state, item);
            delivery.before.extend(before);
            delivery.now = now;
            if !now {
                break;
            }
        }
        delivery
    }

    /// What an element does that is no stanza; none if nobody knows it.
    pub fn nonza(&self, ns: &str, name: &str) -> Option<Release> {
        let all = self.modules.iter().flat_map(|module| module.nonzas);
        all.into_iter().find(|nonza| nonza.ns == ns && nonza.name == name).map(|n| n.handler)
    }

    /// Whether the client says that nobody looks at it.
    pub fn is_quiet(&self, state: &SessionState) -> bool {
        self.quiet.iter().any(|hook| hook(state))
    }

    /// A session lost its connection and waits to be resumed; `unacked` copies what its client has not
    /// acknowledged.
    pub fn hibernates(&self, cx: &Cx, unacked: &dyn Fn() -> Vec<Outgoing>) {
        self.hibernates.iter().for_each(|hook| hook(cx, unacked));
    }

    /// The session's connection is gone: what is kept for its client waits with what it was sent.
    pub fn disconnected(&self, state: &mut SessionState) -> Vec<Outgoing> {
        let hooks = self.modules.iter().filter_map(|module| module.disconnected);
        hooks.flat_map(|hook| hook(state)).collect()
    }

    /// Answers a request, or `service-unavailable` for what nobody knows (RFC 6120 §8.4). An
    /// account that is somebody else's answers the same whether it exists or not.
    pub fn answer(&self, cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
        let target = cx.target(iq.to());
        self.answer_as(cx, iq, target)
    }

    /// As [`Pipeline::answer`], before authentication.
    pub fn answer_stream(&self, cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
        self.answer_as(cx, iq, Some(Target::Stream))
    }

    /// True when the server answers this request itself, if only with an error; else it is routed.
    pub fn answers(&self, cx: &Cx, iq: &Iq) -> bool {
        match cx.target(iq.to()) {
            Some(Target::Service) => self.find(cx, iq, Target::Service).is_some(),
            target => target.is_some(),
        }
    }

    /// True when a handler answers this request before authentication.
    pub fn answers_stream(&self, cx: &Cx, iq: &Iq) -> bool {
        self.find(cx, iq, Target::Stream).is_some()
    }

    fn answer_as(
        &self,
        cx: Cx,
        iq: Iq,
        target: Option<Target>,
    ) -> Answer<Result<Reply, StanzaError>> {
        let found = target.and_then(|target| self.find(&cx, &iq, target));
        if let (Some(Target::Other | Target::Service), Some(client)) = (target, cx.client())
            && let Err(error) = cx.router.guard_sent(iq.stanza(), &client.outbox).refused()
        {
            return Box::pin(std::future::ready(Err(error)));
        }
        if let Some(target) = target.filter(|target| *target != Target::Stream)
            && let Some(handler) = self.instead.iter().find_map(|one| one(&cx, &iq, target))
        {
            return handler(cx, iq);
        }
        match found.filter(|(_, serves)| serves.is_none_or(|serves| serves_it(serves, &cx, &iq))) {
            Some((handler, _)) if target == Some(Target::Other) => {
                Box::pin(guarded(handler, cx, iq))
            }
            Some((handler, _)) => handler(cx, iq),
            None => Box::pin(std::future::ready(Err(StanzaError::service_unavailable()))),
        }
    }

    /// A service's own route goes before one for all of them.
    fn find(&self, cx: &Cx, iq: &Iq, target: Target) -> Option<(IqHandler, Option<Serves>)> {
        let (ns, name) = iq.payload();
        let asked = match iq.to().filter(|_| target == Target::Service) {
            Some(to) => match cx.router.leads(to) {
                Leads::Service(service) => Some(service),
                Leads::Account | Leads::Server | Leads::Elsewhere => None,
            },
            None => None,
        };
        let fits = |one: &&Answerer| {
            one.target == target
                && one.route.ty == iq.ty()
                && one.route.name == name
                && (one.service.is_none() || one.service == asked)
        };
        let found =
            self.iqs.get(ns)?.iter().filter(fits).max_by_key(|one| one.service.is_some())?;
        Some((found.route.handler, found.serves))
    }

    /// Takes out of a session's message what is for the server, and says what that does; `None` for almost all
    /// messages.
    pub fn instructed(&self, cx: &Cx, message: &Stanza) -> Option<(Stanza, Answer<()>)> {
        let known = |child: &Child<'_>| {
            let mut all = self.instructions.iter();
            all.find(|one| one.name == child.name && one.ns == child.ns)
        };
        let handler = message.element().children().find_map(|child| known(&child))?.handler;
        let rest = message.without_payloads(|child| known(child).is_some())?;
        Some((rest, handler(cx.clone(), message.clone())))
    }

    /// Broadcast presence of a session.
    pub fn broadcast(&self, cx: &Cx, stanza: &Stanza) -> Result<PresenceEffect, StanzaError> {
        let Some(client) = cx.client() else { return Ok(PresenceEffect::default()) };
        let effect =
            self.broadcast.iter().try_fold(PresenceEffect::default(), |effect, hook| {
                hook(cx, client, stanza).map(|more| effect.and(more))
            })?;
        self.presence_changed.iter().for_each(|hook| hook(cx, client, stanza));
        Ok(effect)
    }

    /// What is written with a block, besides the block.
    pub fn blocks(&self, cx: &Cx, jid: &Jid, item: Node<'_>) -> Vec<Write> {
        let hooks = self.modules.iter().filter_map(|module| module.blocks);
        hooks.filter_map(|hook| hook(cx, jid, item)).collect()
    }

    /// A session wants news of other nodes than before.
    pub fn wanted_changed(&self, cx: &Cx, before: &[Arc<str>], now: &[Arc<str>]) {
        self.wanted_changed.iter().for_each(|hook| hook(cx, before, now));
    }

    /// A session's presence as others get it: with what the server says in it.
    pub fn stamped(&self, account: &AccountEntry, stanza: &Stanza) -> Stanza {
        let stamps = self.stamps.iter().filter_map(|stamp| stamp(account, stanza));
        stamps.fold(stanza.clone(), |stanza, PresencePayload { ns, name, payload }| {
            stanza.with_own(ns, name, &payload)
        })
    }

    /// Directed presence of a session, before it is routed.
    pub fn directed(&self, cx: &Cx, stanza: &Stanza) -> Result<(), StanzaError> {
        let Some(client) = cx.client() else { return Ok(()) };
        self.directed.iter().try_for_each(|hook| hook(cx, client, stanza))
    }

    /// A session's entry left the registry.
    pub fn resource_removed(&self, cx: &Cx, resource: &Resource) {
        self.resource_removed.iter().for_each(|hook| hook(cx, resource));
    }

    /// A session that left the registry has left these.
    pub fn undelivered(&self, cx: &Cx, resource: &Resource, left: &[Outgoing]) {
        self.undelivered.iter().for_each(|hook| hook(cx, resource, left));
    }

    /// A subscription stanza that a session sends.
    pub fn subscription_out(
        &self,
        cx: Cx,
        stanza: Stanza,
    ) -> Answer<Result<Vec<Stanza>, StanzaError>> {
        handle(&self.subscription_out, cx, stanza)
    }

    /// A subscription stanza to a local account.
    pub fn subscription_in(
        &self,
        cx: Cx,
        stanza: Stanza,
    ) -> Answer<Result<Vec<Stanza>, StanzaError>> {
        handle(&self.subscription_in, cx, stanza)
    }

    /// A contact was let see an account's presence, and was shown it.
    pub fn approved(&self, cx: &Cx, owner: &BareJid, contact: &BareJid) {
        self.approved.iter().for_each(|hook| hook(cx, owner, contact));
    }

    /// What an account's roster says of a contact changed.
    pub fn contact_changed(&self, cx: &Cx, account: AccountId, contact: &BareJid) {
        self.contact_changed.iter().for_each(|hook| hook(cx, account, contact));
    }

    /// A probe to a local account.
    pub fn probe(&self, cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
        handle(&self.probe, cx, stanza)
    }

    /// A session is gone.
    pub fn session_ended(&self, cx: &Cx, session_end: &SessionEnd) {
        self.session_ended.iter().for_each(|hook| hook(cx, session_end));
    }

    /// The table that this was built from.
    pub fn modules(&self) -> &'static [&'static Module] {
        self.modules
    }
}

fn serving(modules: &[&Module], config: &Config) -> Vec<Serving> {
    let serving = |module: &&Module| {
        let service = module.service?;
        let label = (service.label)(config)?.to_owned();
        Some(Serving { module: module.name, service, label })
    };
    modules.iter().filter_map(serving).collect()
}

fn index(modules: &[&Module], services: &[Serving]) -> IqIndex {
    let mut index = IqIndex::new();
    for module in modules {
        let own = services.iter().position(|one| one.module == module.name).map(ServiceId);
        for route in module.iqs {
            for &target in route.targets {
                let service = own.filter(|_| target == Target::Service);
                // Of a service that is switched off.
                if target == Target::Service && module.service.is_some() && service.is_none() {
                    continue;
                }
                let answerer = Answerer { target, route: *route, serves: module.serves, service };
                index.entry(route.ns).or_default().push(answerer);
            }
        }
    }
    index
}

/// Does the addressed account have the module?
fn serves_it(serves: Serves, cx: &Cx, iq: &Iq) -> bool {
    let account = iq.to().map_or_else(|| cx.bare(), |to| to.bare());
    serves(&cx.config, &account)
}

/// Answers for somebody else's account. Where its guards refuse the request, no answer is given; an error
/// that any stranger gets stays what it is, so that it does not tell who has an account.
async fn guarded(handler: IqHandler, cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let (router, from, to) = (cx.router.clone(), iq.stanza().from().clone(), iq.to().cloned());
    let reply = handler(cx, iq).await?;
    if let Some(to) = to {
        router.guard(rules::StanzaClass::IqRequest, &from, &to).await?.refused()?;
    }
    Ok(reply)
}

/// What all of them answer, in order; the first error ends it.
fn handle(hooks: &[OnStanza], cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    match hooks {
        [hook] => hook(cx, stanza),
        hooks => {
            let hooks = hooks.to_vec();
            Box::pin(async move {
                let mut made = Vec::new();
                for hook in hooks {
                    made.extend(hook(cx.clone(), stanza.clone()).await?);
                }
                Ok(made)
            })
        }
    }
}
