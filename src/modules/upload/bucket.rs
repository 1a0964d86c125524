//! Files in a bucket of an S3-compatible store, each an object under its id: what is asked of the store, and what
//! it says when it refuses.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt,
    RetryConfig,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::BucketConfig;

/// A bucket that may be spoken to.
#[derive(Debug)]
pub struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    folder: String,
    /// What uploads hold of it, in KiB.
    memory: Arc<Semaphore>,
    memory_kib: u32,
}

/// Why there is none: what is wrong with which key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Below `modules.upload.bucket`.
    pub key: &'static str,
    /// For a person.
    pub what: String,
    /// For a person, too.
    pub fix: &'static str,
}

impl Bucket {
    /// The one of the settings, if they name one. Nothing is sent to it yet.
    pub fn of(config: &BucketConfig) -> Result<Option<Self>, Fault> {
        if config.name.is_empty() {
            return Ok(None);
        }
        let fault = |key, what: &str, fix| Fault { key, what: what.to_owned(), fix };
        let secret = match &config.secret_file {
            file if file.as_os_str().is_empty() => config.secret.0.clone(),
            file => read(file, "secret_file")?.trim().to_owned(),
        };
        if config.key_id.is_empty() || secret.is_empty() {
            let fix = "set key_id, and secret or secret_file, to what the store gave you; or remove the bucket's name";
            return Err(fault("key_id", "a bucket has a name, but there are no credentials for it", fix));
        }
        let is_plain = config.endpoint.starts_with("http://");
        if !is_plain && !config.endpoint.starts_with("https://") && !config.endpoint.is_empty() {
            let fix = "write it as \"https://s3.example.org\"";
            return Err(fault("endpoint", "the endpoint is no address of HTTP", fix));
        }
        let mut options = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_connect_timeout(CONNECT_MAX)
            .with_timeout(ANSWER_MAX);
        if !config.ca_file.as_os_str().is_empty() {
            let pem = read(&config.ca_file, "ca_file")?;
            let fix = "name a file of certificates in PEM";
            let all = Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|_| fault("ca_file", "the file has no certificates", fix))?;
            options = all.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.name)
            .with_region(&config.region)
            .with_access_key_id(&config.key_id)
            .with_secret_access_key(secret)
            .with_client_options(options)
            // Not all stores know the request for many.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
                max_retries: 3,
                retry_timeout: Duration::from_secs(20),
            });
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(config.endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(|error| {
            fault("name", &format!("the bucket cannot be used: {}", told(&error)), "correct its keys")
        })?;
        Ok(Some(Self::over(Arc::new(store), &config.folder, config.memory_bytes_max)))
    }

    /// One that some store holds.
    pub(super) fn over(store: Arc<dyn ObjectStore>, folder: &str, memory: u64) -> Self {
        let memory_kib = u32::try_from(memory / 1024).unwrap_or(u32::MAX >> 4).max(1);
        let memory = Arc::new(Semaphore::new(memory_kib as usize));
        Self { store, folder: folder.trim_matches('/').to_owned(), memory, memory_kib }
    }

    /// The object of an id.
    pub(super) fn path(&self, id: &str) -> Path {
        match self.folder.as_str() {
            "" => Path::from(id),
            folder => Path::from(format!("{folder}/{id}")),
        }
    }

    /// Memory for an upload that holds so many bytes of its file; waits a moment for it.
    pub(super) async fn reserve(&self, bytes: u64) -> io::Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.memory_kib);
        let permit = timeout(WAIT_MAX, Arc::clone(&self.memory).acquire_many_owned(kib)).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            let why = "too many uploads to the bucket at once (modules.upload.bucket.memory_bytes_max)";
            io::Error::new(io::ErrorKind::WouldBlock, why)
        })
    }

    /// So many bytes of an object from a place on, if it is as large as it should be.
    pub(super) async fn read(
        &self,
        path: &Path,
        size: u64,
        from: u64,
        length: u64,
    ) -> io::Result<Bytes> {
        let range = GetRange::Bounded(from..from.saturating_add(length));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = self.store.get_opts(path, options).await.map_err(|error| told(&error))?;
        if got.meta.size != size {
            let what = format!("it has {} bytes instead of {size}", got.meta.size);
            return Err(io::Error::other(what));
        }
        let bytes = got.bytes().await.map_err(|error| told(&error))?;
        match u64::try_from(bytes.len()) {
            Ok(came) if came == length => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Deletes an object; true if it is not there any more.
    pub(super) async fn delete(&self, id: &str) -> bool {
        match self.store.delete(&self.path(id)).await.map_err(|error| told(&error)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                tracing::warn!(%error, "an uploaded file could not be deleted in the bucket; tried again later");
                false
            }
        }
    }

    /// Whether objects can be written, read and deleted.
    pub async fn probe(&self) -> io::Result<()> {
        let path = self.path(PROBE);
        let all = async {
            self.store.put(&path, Bytes::from_static(b"stonechat").into()).await?;
            self.store.get(&path).await?.bytes().await?;
            self.store.delete(&path).await
        };
        all.await.map_err(|error| told(&error))
    }
}

fn read(file: &PathBuf, key: &'static str) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|error| Fault {
        key,
        what: format!("{} cannot be read: {error}", file.display()),
        fix: "name a file that the server's user may read, or remove the key",
    })
}

/// What a store said, without what it repeats of the request: addresses of objects, ids of keys.
pub(super) fn told(error: &object_store::Error) -> io::Error {
    let text = error.to_string();
    let code = text.split_once("<Code>").and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0));
    let code = code.filter(|code| code.len() < 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    let (kind, what) = match (code, error) {
        (Some("NoSuchKey"), _) => (io::ErrorKind::NotFound, "the bucket has no such object".to_owned()),
        (Some("NoSuchBucket"), _) => (io::ErrorKind::Other, "the store has no such bucket".to_owned()),
        (Some(code), _) if code.contains("StorageFull") || code.contains("Quota") => {
            (io::ErrorKind::StorageFull, format!("the bucket is full ({code})"))
        }
        (
            Some(code),
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. },
        ) => (
            io::ErrorKind::PermissionDenied,
            format!("the store refuses the credentials, or what they are used for ({code})"),
        ),
        (Some(code), _) => (io::ErrorKind::Other, format!("the store says {code}")),
        (None, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
            (io::ErrorKind::PermissionDenied, "the store refuses the credentials".to_owned())
        }
        // In memory; and a store that says no more.
        (None, object_store::Error::NotFound { .. }) => {
            (io::ErrorKind::NotFound, "the bucket has no such object, or is not there".to_owned())
        }
        (None, error) => (io::ErrorKind::Other, format!("the store does not answer as it should: {}", root(error))),
    };
    io::Error::new(kind, what)
}

/// The first cause, in short.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

/// An object that is made and deleted again; no id is like it.
const PROBE: &str = "stonechat-check";
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For one request: a part of a file at most.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How long an upload waits for memory.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Secret;

    fn config() -> BucketConfig {
        BucketConfig {
            name: "b".to_owned(),
            endpoint: "http://127.0.0.1:1".to_owned(),
            key_id: "id".to_owned(),
            secret: Secret("very secret".to_owned()),
            ..BucketConfig::default()
        }
    }

    #[test]
    fn a_bucket_needs_a_name_and_credentials() {
        assert!(Bucket::of(&BucketConfig::default()).unwrap().is_none());
        assert!(Bucket::of(&config()).unwrap().is_some());
        for (change, key) in [
            (BucketConfig { key_id: String::new(), ..config() }, "key_id"),
            (BucketConfig { secret: Secret(String::new()), ..config() }, "key_id"),
            (BucketConfig { secret_file: "/none".into(), ..config() }, "secret_file"),
            (BucketConfig { ca_file: "/none".into(), ..config() }, "ca_file"),
            (BucketConfig { endpoint: "s3.x".to_owned(), ..config() }, "endpoint"),
        ] {
            assert_eq!(Bucket::of(&change).unwrap_err().key, key);
        }
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, "from a file\n").unwrap();
        let bucket = Bucket::of(&BucketConfig { secret_file, ..config() }).unwrap();
        assert!(!format!("{bucket:?} {:?}", config()).contains("very secret"));
    }

    #[test]
    fn what_a_store_says_is_told_without_secrets() {
        let body = |code: &str| {
            format!("status 403: <Error><Code>{code}</Code><AWSAccessKeyId>id</AWSAccessKeyId></Error>")
        };
        for (code, kind, words) in [
            ("NoSuchKey", io::ErrorKind::NotFound, "no such object"),
            ("NoSuchBucket", io::ErrorKind::Other, "no such bucket"),
            ("XMinioStorageFull", io::ErrorKind::StorageFull, "full"),
            ("SignatureDoesNotMatch", io::ErrorKind::PermissionDenied, "refuses the credentials"),
        ] {
            let source = body(code).into();
            let error = object_store::Error::PermissionDenied { path: "secret-id".to_owned(), source };
            let error = told(&error);
            let text = error.to_string();
            assert!(error.kind() == kind && text.contains(words), "{error:?}");
            assert!(!text.contains("secret-id") && !text.contains("AWSAccess"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_store_that_is_not_there_is_said_to_be() {
        let bucket = Bucket::of(&config()).unwrap().unwrap();
        let told = bucket.probe().await.unwrap_err().to_string();
        assert!(told.contains("refused"), "{told}");
    }
}
