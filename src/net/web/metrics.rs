//! `/metrics`: figures in the text of OpenMetrics 1.0, on addresses of their own.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;

use super::http;
use super::state::Web;
use super::{process, vitals};
use crate::base::figures::{Figures, Kind, Sample, Spread, Value};
use crate::net::acceptor::{Accepted, Protocol};
use crate::net::acme;
use crate::net::proxies::Proxies;
use crate::net::tls::Tls;

/// The listeners of whoever watches the server: plain HTTP, with the figures and the signs of life alone.
pub struct Watchers {
    web: Arc<Web>,
    routes: Router,
    tls: Tls,
    proxies: Proxies,
}

impl Watchers {
    /// For all listeners.
    pub fn new(web: Arc<Web>, tls: Tls) -> Self {
        let watched = Watched { web: web.clone(), tls: tls.clone() };
        let figures = Router::new().route("/metrics", get(metrics)).with_state(watched);
        let routes = vitals::routes().with_state(web.clone()).merge(figures);
        // Nobody is behind one: what watches comes by itself.
        Self { web, routes, tls, proxies: Proxies::default() }
    }
}

impl Protocol for Watchers {
    fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        http::serve_plain(&self.web, self.routes.clone(), &self.tls, accepted).await;
    }

    async fn refuse(self: Arc<Self>, _: TcpStream) {}
}

/// What figures are of.
#[derive(Clone)]
struct Watched {
    web: Arc<Web>,
    tls: Tls,
}

async fn metrics(State(Watched { web, tls }): State<Watched>) -> Response {
    let mut figures = web.context.figures().await;
    web.peers.figures(&mut figures);
    web.api.figures(&mut figures);
    let ends = tls.certificate_info().into_iter().map(|host| host.not_after);
    if let Some(first) = ends.min() {
        let since = first.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        figures
            .gauge(
                "stonechat_certificate_expiry_seconds",
                "When the first of the certificates in use expires, in seconds since 1970.",
            )
            .is(since.as_secs());
    }
    acme::figures(web.keeper.as_deref(), &mut figures);
    process::figures(web.context.pipeline.started(), &mut figures);
    match written(figures) {
        Ok(text) => {
            let headers = [(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")];
            (headers, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the figures cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// As the text of OpenMetrics.
fn written(figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Taken(figures)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Figures of a moment, in the crate's terms.
#[derive(Debug)]
struct Taken(Figures);

impl Collector for Taken {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.families() {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for sample in &family.samples {
                match sample.labels.is_empty() {
                    true => write(&mut metric, kind, sample)?,
                    false => write(&mut metric.encode_family(&sample.labels)?, kind, sample)?,
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, kind: MetricType, sample: &Sample) -> fmt::Result {
    match (&sample.value, kind) {
        (Value::Number(number), MetricType::Counter) => {
            metric.encode_counter::<NoLabelSet, u64, f64>(number, None)
        }
        (Value::Number(number), _) => metric.encode_gauge(number),
        (Value::Spread(Spread { sum, buckets }), _) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_openmetrics() {
        let mut figures = Figures::default();
        figures.counter("a", "Of a.").with([("x", "1"), ("y", "2")], 7).with([("x", "2")], 8);
        figures.gauge("b_bytes", "Of b.").is(9);
        let buckets = vec![(0.5, 2), (1.0, 0), (f64::INFINITY, 1)];
        figures.histogram("c_seconds", "Of c.", Spread { sum: 3.25, buckets });
        let wanted = "# HELP a Of a.\n# TYPE a counter\n\
                      a_total{x=\"1\",y=\"2\"} 7\na_total{x=\"2\"} 8\n\
                      # HELP b_bytes Of b.\n# TYPE b_bytes gauge\nb_bytes 9\n\
                      # HELP c_seconds Of c.\n# TYPE c_seconds histogram\n\
                      c_seconds_sum 3.25\nc_seconds_count 3\n\
                      c_seconds_bucket{le=\"0.5\"} 2\nc_seconds_bucket{le=\"1.0\"} 2\n\
                      c_seconds_bucket{le=\"+Inf\"} 3\n# EOF\n";
        assert_eq!(written(figures).unwrap(), wanted);
    }
}
