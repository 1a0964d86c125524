//! The bucket of uploads: whether its settings can be meant, and whether it answers.

use crate::modules::Pipeline;
use crate::modules::upload::{Bucket, Fault};
use crate::server::config::{Config, Origins, Problem};

/// Has a server put new files there, if the configuration names one. It is not asked yet: the server starts without it.
pub fn open(config: &Config, origins: &Origins, pipeline: &Pipeline) -> Result<(), Problem> {
    let opened = pipeline.shared().upload.open(&config.modules.upload);
    opened.map_err(|fault| problem(fault, origins))
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// It answers.
    Good(String),
    /// It should be changed.
    Warning(String),
    /// No file can be uploaded.
    Fault(Problem),
    /// The server would not start.
    Problem(Problem),
}

/// Writes, reads and deletes an object there, if there is a bucket.
pub(super) async fn look(config: &Config, origins: &Origins) -> Vec<Found> {
    let bucket = match Bucket::of(&config.modules.upload.bucket) {
        Ok(None) => return Vec::new(),
        Ok(Some(bucket)) => bucket,
        Err(fault) => return vec![Found::Problem(problem(fault, origins))],
    };
    let keys = &config.modules.upload.bucket;
    let name = &keys.name;
    let mut found = vec![match bucket.probe().await {
        Ok(()) => Found::Good(format!(
            "uploads: objects can be written, read and deleted in the bucket {name}"
        )),
        Err(error) => Found::Fault(Problem {
            what: format!("no file can be uploaded to the bucket {name}: {error}"),
            place: origins.of("modules.upload.bucket.name"),
            fix: "see that the store runs, and that the bucket and the key that [modules.upload.bucket] names exist \
                  there; the key has to be allowed to put, get and delete objects and to abort uploads"
                .to_owned(),
        }),
    }];
    if keys.endpoint.starts_with("http://") && !is_near(&keys.endpoint) {
        let line = "uploads: files travel to the bucket WITHOUT encryption; modules.upload.bucket.endpoint should begin \
             with https://";
        found.push(Found::Warning(line.to_owned()));
    }
    found
}

/// On this machine.
fn is_near(endpoint: &str) -> bool {
    let host = endpoint.trim_start_matches("http://");
    ["127.", "localhost", "[::1]"].iter().any(|near| host.starts_with(near))
}

fn problem(fault: Fault, origins: &Origins) -> Problem {
    let key = format!("modules.upload.bucket.{}", fault.key);
    Problem { what: fault.what, place: origins.of(&key), fix: fault.fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};

    async fn looked(sets: &[(&str, &str)]) -> String {
        let key = |key: &str| format!("modules.upload.bucket.{key}");
        let sets = sets.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect();
        let loaded = load(&Inputs { sets, ..Inputs::default() }).unwrap();
        format!("{:?}", look(&loaded.config, &loaded.origins).await)
    }

    #[tokio::test]
    async fn a_bucket_that_does_not_answer_is_told_of() {
        assert_eq!(looked(&[]).await, "[]");
        let told = looked(&[("name", "b")]).await;
        assert!(told.contains("no credentials") && told.starts_with("[Problem"), "{told}");
        let all = [("name", "b"), ("key_id", "id"), ("secret", "hidden")];
        let near = [&all[..], &[("endpoint", "http://127.0.0.1:1")]].concat();
        let told = looked(&near).await;
        assert!(told.contains("refused") && told.starts_with("[Fault"), "{told}");
        assert!(!told.contains("hidden") && !told.contains("WITHOUT"), "{told}");
    }

    #[test]
    fn only_this_machine_is_near() {
        assert!(is_near("http://localhost:9000") && !is_near("http://10.1.2.3:9000"));
    }
}
