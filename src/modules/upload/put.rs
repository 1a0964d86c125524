//! An upload (§7): written aside, durable with its row before it is called there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::files::{Claim, Promise};
use super::name::{is_same_type, media_type};
use super::place::{NewFile, Place};
use crate::base::id::is_random;
use crate::base::time::micros;
use crate::modules::api::WebCx;
use crate::store::uploads::{self as rows, File};

/// Why a file is not taken, for the person who looks at the client.
type Refusal = (StatusCode, &'static str);

/// The name in the path is for people; it is not looked at.
pub(super) async fn put(
    State(cx): State<WebCx>,
    Path((id, _name)): Path<(String, String)>,
    request: Request,
) -> Response {
    match take(&cx, id, request).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(refusal) => {
            cx.server.shared().upload.moved.refused();
            tracing::debug!(
                status = refusal.0.as_u16(),
                reason = refusal.1.trim_end(),
                "no upload"
            );
            refusal.into_response()
        }
    }
}

async fn take(cx: &WebCx, id: String, request: Request) -> Result<(), Refusal> {
    let wanted = is_random(&id).then(|| id.clone()).ok_or(UNKNOWN)?;
    let claim = Claim::of(&cx.server, &id).ok_or(BUSY)?;
    let row = cx.store.read(move |tx| rows::find(tx, &wanted)).await.map_err(|_| INSIDE)?;
    let row = row.ok_or(UNKNOWN)?;
    allow(cx, &row, &request)?;
    let given = judge(&row, &request)?;
    let size = u64::try_from(row.size).unwrap_or(0);
    let place = Place::of(&cx.server, &cx.config.upload);
    let uploading = &cx.server.shared().upload;
    let mut promise = uploading.promise(size);
    if !place.has_room(uploading.promised()) {
        tracing::warn!(id, size, "an upload is refused: it would not leave upload.free_bytes_min free");
        return Err(FULL);
    }
    let file = place.create(&cx.router.tasks, &id, size).await;
    let mut file = file.map_err(|error| fault(&error))?;
    let time = TIME_MIN + Duration::from_secs(size / BYTES_PER_SECOND_MIN);
    let room = || place.has_room(0);
    let received = receive(&mut file, request.into_body(), &mut promise, size, room);
    timeout(time, received).await.unwrap_or(Err(SLOW))?;
    // Whoever goes now leaves no half of it.
    let (done, outcome) = oneshot::channel();
    let work = cx.clone();
    cx.router.tasks.spawn("upload", async move {
        let ended = finish(&work, id, file, given).await;
        if ended.is_ok() {
            work.server.shared().upload.moved.stored(size);
        }
        drop((claim, promise));
        let _ = done.send(ended);
    });
    outcome.await.unwrap_or(Err(INSIDE))
}

/// Whether the address may be used, and is good still.
fn allow(cx: &WebCx, row: &File, request: &Request) -> Result<(), Refusal> {
    let token = row.token.as_ref().ok_or(TWICE)?;
    let query = request.uri().query().unwrap_or_default();
    let shown = query.split('&').find_map(|one| one.strip_prefix("token=")).unwrap_or_default();
    if !bool::from(token.as_bytes().ct_eq(shown.as_bytes())) {
        return Err(FORGED);
    }
    let now = micros((cx.clock)());
    let end = row.made.saturating_add(cx.config.upload.bounds().slot).min(row.expires);
    if now >= end { Err(EXPIRED) } else { Ok(()) }
}

/// §7: whether what comes is what was asked for; its media type.
fn judge(row: &File, request: &Request) -> Result<Option<String>, Refusal> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let length = text(CONTENT_LENGTH).ok_or(NO_LENGTH)?;
    if length.parse::<i64>().ok() != Some(row.size) {
        return Err(WRONG_SIZE);
    }
    let given = text(CONTENT_TYPE).filter(|given| !given.is_empty());
    match (&row.media_type, given) {
        (Some(said), Some(given)) if !is_same_type(said, given) => Err(WRONG_TYPE),
        (Some(said), _) => Ok(Some(said.clone())),
        (None, given) => Ok(given.and_then(media_type).map(str::to_owned)),
    }
}

/// Takes the body. Messages are written at the same time, so what is free is looked at again and again.
async fn receive(
    file: &mut NewFile,
    mut body: Body,
    promise: &mut Promise,
    size: u64,
    has_room: impl Fn() -> bool,
) -> Result<(), Refusal> {
    let (mut left, mut unseen) = (size, 0);
    while let Some(bytes) = timeout(PAUSE_MAX, next(&mut body)).await.map_err(|_| SLOW)? {
        let bytes = bytes.map_err(|_| CUT)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or(WRONG_SIZE)?;
        unseen += length;
        if unseen >= LOOK_EVERY {
            // What came last may be in a buffer still.
            promise.lower_to(left.saturating_add(unseen));
            unseen = 0;
            has_room().then_some(()).ok_or(FULL)?;
        }
        file.write(&bytes).await.map_err(|error| fault(&error))?;
    }
    if left == 0 { Ok(()) } else { Err(CUT) }
}

/// The next bytes of a body.
async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Some(Ok(bytes));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// First the bytes, then the row: a row says that the file is there.
async fn finish(
    cx: &WebCx,
    id: String,
    mut file: NewFile,
    media_type: Option<String>,
) -> Result<(), Refusal> {
    file.settle().await.map_err(|error| fault(&error))?;
    let now = micros((cx.clock)());
    let row =
        move |tx: &mut dyn crate::store::Tx| rows::finish(tx, &id, media_type.as_deref(), now);
    match cx.store.write(row).await {
        Ok(true) => {
            file.keep();
            Ok(())
        }
        Ok(false) => {
            file.discard().await;
            Err(EXPIRED)
        }
        Err(error) => {
            tracing::warn!(%error, "an upload could not be written down");
            // Perhaps it was all the same: the next start looks, or whoever deletes the slot.
            file.keep();
            Err(INSIDE)
        }
    }
}

fn fault(error: &io::Error) -> Refusal {
    tracing::warn!(%error, "an upload cannot be written");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FULL,
        io::ErrorKind::WouldBlock => CROWDED,
        _ => INSIDE,
    }
}

const UNKNOWN: Refusal = (StatusCode::NOT_FOUND, "there is no such slot\n");
const BUSY: Refusal = (StatusCode::CONFLICT, "this file is being uploaded, or too many are\n");
const TWICE: Refusal = (StatusCode::CONFLICT, "this file is there already\n");
const FORGED: Refusal = (StatusCode::FORBIDDEN, "this address does not allow to upload\n");
const EXPIRED: Refusal = (StatusCode::GONE, "this slot has expired; ask for another one\n");
const NO_LENGTH: Refusal = (StatusCode::LENGTH_REQUIRED, "Content-Length is missing\n");
const WRONG_SIZE: Refusal =
    (StatusCode::PAYLOAD_TOO_LARGE, "the file has not the size that the slot is for\n");
const WRONG_TYPE: Refusal =
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the file has not the type that the slot is for\n");
const SLOW: Refusal = (StatusCode::REQUEST_TIMEOUT, "the file took too long\n");
const CUT: Refusal = (StatusCode::BAD_REQUEST, "the file was cut off\n");
const FULL: Refusal = (StatusCode::INSUFFICIENT_STORAGE, "the disk is full\n");
const CROWDED: Refusal =
    (StatusCode::SERVICE_UNAVAILABLE, "too many files are being uploaded; try again later\n");
const INSIDE: Refusal = (StatusCode::INTERNAL_SERVER_ERROR, "the file could not be kept\n");

/// How long a client may send nothing.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long any upload may take; each second more has to bring so much.
const TIME_MIN: Duration = Duration::from_secs(60);
const BYTES_PER_SECOND_MIN: u64 = 4_096;
/// Bytes after which an upload looks whether there is room still.
const LOOK_EVERY: u64 = 1 << 20;
