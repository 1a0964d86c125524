//! Settings that the streams of one server have in common.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::limits::Limits;
use crate::stream::features::{self, OverTls};
use crate::stream::sasl::{ChannelBindings, Mechanism, Offer, channel_binding_types};

/// Settings that are the same for all streams of one server.
pub struct Policy {
    /// Hosted domains in normal form; the first one is used when a client names none of them.
    pub hosts: Vec<String>,
    /// Whether TLS must come before SASL (RFC 7590 §3). False only by an explicit, loudly logged setting.
    pub require_tls: bool,
    /// Enabled mechanisms.
    pub mechanisms: Vec<Mechanism>,
    /// PBKDF2 rounds of new accounts; also reported for accounts that do not exist.
    pub iterations: u32,
    /// The secret from which the salts of accounts that do not exist are made.
    pub secret: [u8; 32],
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Features that modules offer together with SASL.
    pub authenticate_features: String,
    /// Features that modules offer together with resource binding.
    pub bind_features: String,
    /// What can be requested together with a login (XEP-0388).
    pub inline: features::Inline,
    /// See [`Policy::prepared`].
    pub offers: Offers,
}

/// The features of streams under TLS, by the available channel bindings and whether the default is among
/// them; empty if not made yet.
#[derive(Default)]
pub struct Offers(Vec<(Vec<&'static str>, bool, OverTls)>);

impl Policy {
    /// Makes the features of streams under TLS in advance: they depend on the channel bindings alone.
    pub fn prepared(mut self) -> Self {
        let some = || Some(Vec::new());
        let bindings = [(None, None), (some(), None), (None, some()), (some(), some())];
        let bindings = bindings.iter().flat_map(|one| [(one, false), (one, true)]);
        let made = bindings.map(|((tls_exporter, tls_server_end_point), lacks_default)| {
            let (tls_exporter, tls_server_end_point) =
                (tls_exporter.clone(), tls_server_end_point.clone());
            let bindings = ChannelBindings { tls_exporter, tls_server_end_point, lacks_default };
            let offer = Offer::new(&self.mechanisms, bindings);
            let types = channel_binding_types(&offer.bindings).collect();
            (types, lacks_default, self.over_tls(&offer))
        });
        self.offers = Offers(made.collect());
        self
    }

    fn over_tls(&self, offer: &Offer) -> OverTls {
        features::over_tls(offer, &self.inline, &self.authenticate_features, &self.limits)
    }

    /// The features of a stream under TLS.
    pub(super) fn offered(&self, offer: &Offer) -> Cow<'_, OverTls> {
        let Offers(made) = &self.offers;
        let fits =
            |types: &[&str]| channel_binding_types(&offer.bindings).eq(types.iter().copied());
        let lacks = offer.bindings.lacks_default;
        match made.iter().find(|(types, default, _)| *default == lacks && fits(types)) {
            Some((_, _, made)) => Cow::Borrowed(made),
            None => Cow::Owned(self.over_tls(offer)),
        }
    }
}
