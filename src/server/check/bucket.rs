//! The bucket of uploads: whether its settings can be meant, and whether it answers.

use super::{Report, block_on};
use crate::modules::Pipeline;
use crate::modules::upload::{Bucket, Fault};
use crate::server::config::{Config, Origins, Problem};

/// Has a server put new files there, if the configuration names one. It is not asked yet: the server starts without it.
pub fn open(config: &Config, origins: &Origins, pipeline: &Pipeline) -> Result<(), Problem> {
    let opened = pipeline.shared().upload.open(&config.modules.upload);
    opened.map_err(|fault| problem(fault, origins))
}

/// Writes, reads and deletes an object there.
pub(super) fn look(config: &Config, origins: &Origins, report: &mut Report) {
    let bucket = match Bucket::of(&config.modules.upload.bucket) {
        Ok(None) => return,
        Ok(Some(bucket)) => bucket,
        Err(fault) => return report.problems.push(problem(fault, origins)),
    };
    let keys = &config.modules.upload.bucket;
    let name = &keys.name;
    match block_on(bucket.probe()) {
        Some(Ok(())) => {
            let line =
                format!("uploads: objects can be written, read and deleted in the bucket {name}");
            report.good.push(line);
        }
        told => {
            let why = told.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
            report.faults.push(Problem {
                what: format!("no file can be uploaded: of the bucket {name}, {why}"),
                place: origins.of("modules.upload.bucket.name"),
                fix: "see that the store runs, and that the bucket and the key that [modules.upload.bucket] names exist \
                      there; the key has to be allowed to put, get and delete objects and to abort uploads"
                    .to_owned(),
            });
        }
    }
    if keys.endpoint.starts_with("http://") && !is_near(&keys.endpoint) {
        let line = "uploads: files travel to the bucket WITHOUT encryption; modules.upload.bucket.endpoint should begin \
             with https://";
        report.warnings.push(line.to_owned());
    }
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

    fn looked(sets: &[(&str, &str)]) -> String {
        let key = |key: &str| format!("modules.upload.bucket.{key}");
        let sets = sets.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect();
        let loaded = load(&Inputs { sets, ..Inputs::default() }).unwrap();
        let mut report = Report::default();
        look(&loaded.config, &loaded.origins, &mut report);
        report.to_string()
    }

    #[test]
    fn a_bucket_that_does_not_answer_is_told_of() {
        assert_eq!(looked(&[]), "Stonechat can start.");
        let told = looked(&[("name", "b")]);
        assert!(told.contains("no credentials") && told.contains("cannot start"), "{told}");
        let all = [("name", "b"), ("key_id", "id"), ("secret", "hidden")];
        let near = [&all[..], &[("endpoint", "http://127.0.0.1:1")]].concat();
        let told = looked(&near);
        assert!(told.contains("refused") && told.contains("not serve as it should"), "{told}");
        assert!(!told.contains("hidden") && !told.contains("WITHOUT"), "{told}");
    }

    #[test]
    fn only_this_machine_is_near() {
        assert!(is_near("http://localhost:9000") && !is_near("http://10.1.2.3:9000"));
    }
}
