//! Stanzas to services, and requests of whoever is no session.

use super::Pipeline;
use super::api::{Cx, Reply, Serving};
use crate::router::ServiceId;
use crate::router::handled_count::Ticket;
use crate::stanza::iq::Iq;
use crate::stanza::{Kind, Stanza, StanzaError};

impl Pipeline {
    /// Answers it as [`Pipeline::answer`], in stanzas: for whoever is no session.
    async fn answered(&self, cx: Cx, iq: Iq) -> Result<Vec<Stanza>, StanzaError> {
        let Reply { payload, ahead, out, .. } = self.answer(cx, iq.clone()).await?;
        let answer = ahead.into_iter().chain([iq.result(&payload)]);
        Ok(answer.filter_map(Stanza::ours).chain(out).collect())
    }

    /// An IQ to the server, or to an account that the server answers for.
    pub async fn serve_iq(&self, cx: Cx, stanza: &Stanza) -> Result<Vec<Stanza>, StanzaError> {
        match Iq::request(stanza)? {
            Some(iq) => self.answered(cx, iq).await,
            None => Ok(Vec::new()),
        }
    }

    /// A stanza to an address of a service.
    pub async fn serve(
        &self,
        cx: Cx,
        service: ServiceId,
        stanza: Stanza,
        ticket: Option<Ticket>,
    ) -> Result<Vec<Stanza>, StanzaError> {
        let Some(Serving { service, .. }) = self.services.get(service.0) else {
            return Err(StanzaError::service_unavailable());
        };
        match stanza.kind() {
            Kind::Message => (service.message)(cx, stanza, ticket).await,
            Kind::Presence => (service.presence)(cx, stanza).await,
            Kind::Iq => match Iq::request(&stanza)? {
                Some(iq) if self.answers(&cx, &iq) => self.answered(cx, iq).await,
                _ => (service.iq)(cx, stanza).await,
            },
        }
    }

    /// The services that are switched on; a [`ServiceId`] is a place in this list.
    pub fn services(&self) -> &[Serving] {
        &self.services
    }
}
