//! The requests themselves: `/http-bind`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use super::body::{self, Condition, Created, Request};
use super::pipe::{self, Beginning, Pipe, Shared, Waiting};
use super::terms::{Reply, Terms};
use crate::base::id::{self, OsRng};
use crate::jid::Jid;
use crate::modules::api::Via;
use crate::net::acceptor::Counted;
use crate::net::web::clock::now;
use crate::net::web::state::Web;
use crate::net::web::visitor::Visitor;
use crate::session::{self, NewConnection};
use crate::stream::framing::Framing;
use crate::xml::gate::Rules;

/// Why a request gets no answer of BOSH, for the person who looks at the client.
type Refusal = (StatusCode, &'static str);

/// `POST /http-bind`
pub async fn answer(
    State(web): State<Arc<Web>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let origin = match judge(&web, &visitor, &headers) {
        Ok(origin) => origin,
        Err(refusal) => {
            if visitor.connection.tells() {
                tracing::info!(peer = %visitor.ip, reason = refusal.1, "BOSH refused");
            }
            return refusal.into_response();
        }
    };
    let mut content = HeaderValue::from_static(XML);
    let reply = match received(&web, body).await {
        Ok(request) => {
            let session = request.sid.as_deref().map(|sid| web.bosh.find(sid));
            let secure = session.iter().flatten().all(|session| !session.secure || visitor.secure);
            if !secure {
                return (StatusCode::FORBIDDEN, "this session is encrypted\n").into_response();
            }
            let (waiter, answered) = oneshot::channel();
            let waiter = Waiting(waiter);
            let session = match session {
                Some(Some(session)) => {
                    session.request(request, waiter);
                    Ok(session)
                }
                Some(None) => Err(ended(Condition::ItemNotFound)),
                None => match web.bosh_elsewhere(&uri, &headers) {
                    Some(there) => Err(Reply { status: 200, body: body::moved(&there) }),
                    None => create(&web, &visitor, request, waiter).await.map_err(ended),
                },
            };
            match session {
                Ok(session) => {
                    content = session.content.clone();
                    Held { session, answered: Some(answered) }.reply().await
                }
                Err(reply) => reply,
            }
        }
        Err(reply) => reply,
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let headers = [
        (CONTENT_TYPE, content),
        (VARY, HeaderValue::from_static("Origin")),
        // What others wrote is in it, and a form may have brought it here: it is no page of ours.
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    shared((status, headers, reply.body).into_response(), origin)
}

/// `OPTIONS /http-bind`: what pages of other origins may do.
pub async fn preflight(
    State(web): State<Arc<Web>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response {
    match judge(&web, &visitor, &headers) {
        Ok(origin) => {
            let headers = [
                (VARY, HeaderValue::from_static("Origin")),
                (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS")),
                (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type")),
                (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
            ];
            shared((StatusCode::NO_CONTENT, headers).into_response(), origin)
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Says which origin may read it.
fn shared(mut response: Response, origin: Option<HeaderValue>) -> Response {
    response.headers_mut().extend(origin.map(|origin| (ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
    response
}

/// `GET /http-bind`: a person who looks whether it is there.
pub async fn visited() -> &'static str {
    "this is the address of XMPP over BOSH\n"
}

/// Whether somebody may come in this way; the origin that may read the answer.
fn judge(
    web: &Web,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Refusal> {
    if !visitor.secure && !web.settings.cleartext {
        return Err((StatusCode::FORBIDDEN, "this is not encrypted; use https:\n"));
    }
    let allowed = &web.settings.origins;
    match headers.get(ORIGIN) {
        _ if allowed.is_empty() => Ok(Some(HeaderValue::from_static("*"))),
        Some(origin) if allowed.iter().any(|one| origin == one) => Ok(Some(origin.clone())),
        Some(_) => Err((StatusCode::FORBIDDEN, "pages of this origin may not connect here\n")),
        None => Ok(None),
    }
}

/// Reads the request. One that cannot be read ends the session that it seems to be of.
async fn received(web: &Web, body: Body) -> Result<Request, Reply> {
    let limits = &web.context.router.limits;
    let mut raw = BytesMut::new();
    let whole = timeout(web.settings.body_time, collect(web, body, &mut raw)).await;
    let condition = match whole {
        Ok(Some(whole)) => {
            let rules = Rules {
                content_ns: body::HTTPBIND,
                depth_max: limits.depth_max,
                attributes_max: limits.attributes_max,
                children_max: limits.children_max,
            };
            match body::read(whole.clone(), &rules) {
                Ok(request) => return Ok(request),
                Err(error) => {
                    tracing::debug!(%error, "a request of BOSH that cannot be read");
                    raw = BytesMut::from(whole);
                    Condition::BadRequest
                }
            }
        }
        Ok(None) => Condition::PolicyViolation,
        Err(_) => Condition::BadRequest,
    };
    let session = body::sid_at_a_glance(&raw).and_then(|sid| web.bosh.find(sid));
    Err(session.map_or_else(|| ended(condition), |session| session.refuse(condition)))
}

/// The whole body; none if it is too large. Who has no session yet may send as little as on TCP.
async fn collect(web: &Web, mut body: Body, raw: &mut BytesMut) -> Option<Bytes> {
    let limits = &web.context.router.limits;
    let mut most = limits.stanza_bytes_max_unauthenticated.saturating_add(WRAPPER_BYTES_MAX);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Some(data) = frame.ok()?.into_data().ok() else { continue };
        let length = raw.len() + data.len();
        if length > most {
            let begin = if raw.is_empty() { data.as_ref() } else { raw.as_ref() };
            let begin = begin.get(..WRAPPER_BYTES_MAX).unwrap_or(begin);
            if body::sid_at_a_glance(begin).is_some_and(|sid| web.bosh.find(sid).is_some()) {
                most = body_max(limits.stanza_bytes_max);
            }
        }
        if length > most {
            if raw.is_empty() {
                // For whoever looks whose it is.
                raw.extend_from_slice(data.get(..WRAPPER_BYTES_MAX).unwrap_or(&data));
            }
            return None;
        }
        if raw.is_empty() && body.is_end_stream() {
            return Some(data);
        }
        raw.extend_from_slice(&data);
    }
    Some(raw.split().freeze())
}

/// Several stanzas may come in one body.
fn body_max(stanza_bytes_max: usize) -> usize {
    stanza_bytes_max.saturating_mul(2).saturating_add(WRAPPER_BYTES_MAX)
}

fn ended(condition: Condition) -> Reply {
    Reply { status: 200, body: body::terminated(Some(condition)) }
}

/// XEP-0124 §7
async fn create(
    web: &Arc<Web>,
    visitor: &Visitor,
    request: Request,
    waiter: Waiting,
) -> Result<Arc<Shared>, Condition> {
    let named = request.to.as_deref().filter(|to| !to.is_empty());
    let named = Jid::parse(named.ok_or(Condition::ImproperAddressing)?);
    let domain = named.map_err(|_| Condition::HostUnknown)?.domain().to_owned();
    if !web.context.policy.hosts.contains(&domain) {
        return Err(Condition::HostUnknown);
    }
    if *web.context.stopping.borrow() {
        return Err(Condition::SystemShutdown);
    }
    // Many may come on one connection.
    let counted = &visitor.connection.counted;
    if !counted.wait_its_turn(visitor.ip).await {
        return Err(Condition::SystemShutdown);
    }
    let counted = counted.another(visitor.ip).map(Arc::new);
    let counted = counted.ok_or(Condition::PolicyViolation)?;
    let sid = id::random(&mut OsRng);
    let terms = terms(web, &request);
    let created = created(&terms, sid.clone(), domain, &request);
    let content = request.content.as_deref().and_then(content_type);
    let (session, pipe) = pipe::begin(Beginning {
        terms,
        created,
        request,
        waiter,
        content: content.unwrap_or(HeaderValue::from_static(XML)),
        secure: visitor.secure,
        counted: counted.clone(),
        stopping: web.context.stopping.clone(),
    });
    web.bosh.insert(sid.clone(), session.clone());
    serve(web, visitor, pipe, counted);
    let tasks = &web.context.router.tasks;
    tasks.spawn("bosh watch", watch(web.clone(), sid, session.clone()));
    Ok(session)
}

/// Gives the stream to an XMPP session.
fn serve(web: &Arc<Web>, visitor: &Visitor, pipe: Pipe, counted: Arc<Counted>) {
    let connection = NewConnection {
        transport: Box::new(pipe),
        framing: Framing::bosh(&web.context.router.limits),
        peer: visitor.ip,
        // XEP-0206 §2: TLS is outside; it is of many connections, so nothing is bound to one.
        direct_tls: Some(Default::default()),
        since: now(),
        ports: web.ports,
        via: Via::Bosh,
    };
    let served = session::serve(web.context.clone(), connection, Box::new(counted));
    web.context.router.tasks.spawn("bosh", served);
}

fn terms(web: &Web, request: &Request) -> Terms {
    let settings = &web.settings;
    let wait = request.wait.unwrap_or(u64::MAX).min(settings.bosh_wait_max.as_secs());
    let hold = usize::try_from(request.hold.unwrap_or(1)).unwrap_or(HOLD_MAX).min(HOLD_MAX);
    let polls = wait == 0 || hold == 0;
    // XEP-0124 §12: more, for who only asks now and then.
    let more = if polls { POLLING * 3 } else { Duration::ZERO };
    Terms {
        wait: Duration::from_secs(wait),
        hold,
        requests: hold + 1,
        inactivity: settings.bosh_inactivity + more,
        pause_max: settings.bosh_inactivity * 2,
        polling: POLLING,
        acks: request.ack.is_some(),
        legacy: request.ver.is_none(),
        input_max: body_max(web.context.router.limits.stanza_bytes_max),
    }
}

fn created(terms: &Terms, sid: String, from: String, request: &Request) -> Created {
    Created {
        sid,
        from,
        wait: terms.wait.as_secs(),
        inactivity: terms.inactivity.as_secs(),
        polling: terms.polling.as_secs(),
        maxpause: terms.pause_max.as_secs(),
        requests: terms.requests,
        hold: terms.hold,
        ver: request.ver.as_deref().map(|ver| lower(ver).to_owned()),
        authid: None,
    }
}

/// XEP-0124 §7.2: the lower one of the client's version and ours. Each part is a number.
fn lower(ver: &str) -> &str {
    let parts = |ver: &str| {
        let (major, minor) = ver.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if parts(ver).is_some_and(|theirs| Some(theirs) < parts(VERSION)) { ver } else { VERSION }
}

/// XEP-0124 §7.1: what a client can read at all; only kinds of text.
fn content_type(wanted: &str) -> Option<HeaderValue> {
    let is_text = wanted.starts_with("text/") || wanted.starts_with("application/xml");
    HeaderValue::from_str(wanted).ok().filter(|_| is_text)
}

/// Ends the session once its client does not come back, and forgets it once it is over.
async fn watch(web: Arc<Web>, sid: String, session: Arc<Shared>) {
    let mut stopping = web.context.stopping.clone();
    while let Some(due) = session.expire() {
        tokio::select! {
            () = sleep_until(due.into()) => {}
            () = session.changed.notified() => {}
            // Its client still has to be told.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
    web.bosh.remove(&sid);
}

/// A request that is held; hyper drops it when its connection is gone.
struct Held {
    session: Arc<Shared>,
    answered: Option<oneshot::Receiver<Reply>>,
}

impl Held {
    async fn reply(mut self) -> Reply {
        let mut due = now() + self.session.wait;
        loop {
            let Some(answered) = &mut self.answered else { return ended(Condition::ItemNotFound) };
            tokio::select! {
                biased;
                reply = answered => {
                    self.answered = None;
                    return reply.unwrap_or_else(|_| ended(Condition::ItemNotFound));
                }
                () = sleep_until(due.into()) => {
                    self.session.look_who_waits();
                    due += self.session.wait.max(AGAIN);
                }
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.answered.take().is_some() {
            self.session.look_who_left();
        }
    }
}

/// The Content-Type of responses, if the client wants no other.
const XML: &str = "text/xml; charset=utf-8";
/// The version of BOSH that is spoken here.
const VERSION: &str = "1.11";
/// How many requests are held at most. XEP-0124 §7.1 wants one of who reuses connections. stanza.js asks for two, has
/// no third connection, and could say nothing until one of them is answered.
const HOLD_MAX: usize = 1;
/// The shortest time between two empty requests, where nothing is held.
const POLLING: Duration = Duration::from_secs(5);
/// Bytes of the wrapper around what is sent.
const WRAPPER_BYTES_MAX: usize = 4_096;
/// When to look again at a request that should have been answered.
const AGAIN: Duration = Duration::from_secs(1);
