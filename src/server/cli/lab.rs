//! `stonechat lab`: the configuration of a temporary server, and of those that meet it over sockets (`--split`).

use std::path::{Path, PathBuf};

use super::args::Common;
use super::args_lab::LabArgs;
use super::lab_folder::LabFolder;
use crate::admin::Secret;
use crate::jid::BareJid;
use crate::net::local_ca;
use crate::server::config::{Config, Inputs, Loaded, Problem, Problems, load};

/// Servers to be thrown away: mostly one.
#[derive(Debug)]
pub struct Lab {
    /// The first one.
    pub first: LabServer,
    /// Those of `--split`: each has a domain of its own, and reaches the others as servers do.
    pub split: Vec<LabServer>,
    /// Removed with all data when dropped.
    pub folder: LabFolder,
}

/// One server of a lab.
#[derive(Debug)]
pub struct LabServer {
    /// Its configuration: free loopback ports, open registration, data in the lab's folder.
    pub loaded: Loaded,
    /// Accounts to make before the first connection.
    pub users: Vec<(BareJid, Secret)>,
}

impl Lab {
    /// Puts the configuration together: defaults, `--config`, the lab's own, `--set`. Neither the
    /// environment nor the usual files are read: they are made for a server with real data.
    pub fn prepare(common: &Common, args: &LabArgs) -> Result<Self, Problems> {
        let users: Vec<_> = args
            .user
            .iter()
            .map(|text| user(text).map_err(Problems::one))
            .collect::<Result<_, _>>()?;
        let (domains, split) = domains(args, &users)?;
        let folder = LabFolder::new(&std::env::temp_dir()).map_err(|e| {
            Problems::one(Problem {
                what: format!("no temporary folder can be made: {e}"),
                place: std::env::temp_dir().display().to_string(),
                fix: "make room there, or name another folder in the variable TMPDIR".to_owned(),
            })
        })?;
        let file = Inputs { file: common.config.clone(), ..Inputs::default() };
        let base = if common.config.is_some() { load(&file)?.config } else { Config::default() };
        let server = |domains: &[String], data: PathBuf| {
            let mut base = base.clone().lab(domains, data.clone());
            for text in &args.peer {
                let (domain, place) = peer(text).map_err(Problems::one)?;
                base.s2s.routes.insert(domain, place);
            }
            if let Some(shared) = authority(args, folder.path()) {
                share(&shared, &data)?;
            }
            for text in &args.admin {
                base.admin.owners.push(admin(text, &users).map_err(Problems::one)?);
            }
            let loaded = load(&Inputs { base, sets: common.sets(), ..Inputs::default() })?;
            let loaded = Loaded { file: common.config.clone(), ..loaded };
            let serves =
                |jid: &BareJid| loaded.config.host.iter().any(|host| host.domain == jid.domain());
            let users = users.iter().filter(|(jid, _)| serves(jid)).cloned().collect();
            Ok(LabServer { loaded, users })
        };
        let first = server(&domains, folder.path().to_owned())?;
        let place = |domain: &String| folder.path().join("split").join(domain);
        let beside = |domain: &String| {
            let mut made = server(std::slice::from_ref(domain), place(domain))?;
            made.loaded.config = made.loaded.config.beside();
            Ok(made)
        };
        let split = split.iter().map(beside).collect::<Result<_, Problems>>()?;
        Ok(Self { first, split, folder })
    }
}

/// The domains of the first server, and those that have one each.
fn domains(
    args: &LabArgs,
    users: &[(BareJid, Secret)],
) -> Result<(Vec<String>, Vec<String>), Problems> {
    let mut split: Vec<String> = Vec::new();
    for text in &args.split {
        let domain = BareJid::parse(text).ok().filter(|jid| jid.local().is_none());
        let domain = domain.map(|jid| jid.domain().to_owned()).ok_or_else(|| {
            Problems::one(Problem {
                what: format!("`{text}` is no domain"),
                place: "--split".to_owned(),
                fix: "write it as --split b.example".to_owned(),
            })
        })?;
        if !split.contains(&domain) {
            split.push(domain);
        }
    }
    let mut domains: Vec<String> =
        args.domain.iter().filter(|domain| !split.contains(domain)).cloned().collect();
    for (jid, _) in users {
        if !split.iter().chain(&domains).any(|domain| domain == jid.domain()) {
            domains.push(jid.domain().to_owned());
        }
    }
    // Somebody has to be the first.
    if domains.is_empty() && !split.is_empty() {
        domains.push(split.remove(0));
    }
    Ok((domains, split))
}

/// Labs that are to meet trust one authority, and so do the servers of one lab.
fn authority(args: &LabArgs, folder: &Path) -> Option<PathBuf> {
    let own = || {
        let user = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("stonechat-lab-authority-{user}"))
    };
    let shared = args.authority.clone().or_else(|| (!args.peer.is_empty()).then(own));
    shared.or_else(|| (!args.split.is_empty()).then(|| folder.join("authority")))
}

fn share(shared: &Path, data: &Path) -> Result<(), Problems> {
    local_ca::share(shared, data).map_err(|error| {
        Problems::one(Problem {
            what: format!("the authority of the labs cannot be used: {error}"),
            place: shared.display().to_string(),
            fix: "name a folder that you may write to: --authority FOLDER".to_owned(),
        })
    })
}

/// Reads `DOMAIN=ADDRESS`.
fn peer(text: &str) -> Result<(String, String), Problem> {
    match text.split_once('=') {
        Some((domain, place)) if !domain.is_empty() && !place.is_empty() => {
            Ok((domain.to_owned(), place.to_owned()))
        }
        _ => Err(Problem {
            what: format!("`{text}` says no domain and where it is"),
            place: "--peer".to_owned(),
            fix: "write it as --peer b.example=127.0.0.1:5270".to_owned(),
        }),
    }
}

/// Reads `JID:PASSWORD`. A localpart has no colon (RFC 7622 §3.3.1), and of domains only an IPv6
/// address has, in brackets; so the first colon outside of brackets ends the address.
fn user(text: &str) -> Result<(BareJid, Secret), Problem> {
    let problem = |what: String| Problem {
        what,
        place: "--user".to_owned(),
        fix: "write it as --user alice@localhost:secret".to_owned(),
    };
    let skip = text.find("@[").and_then(|at| Some(at + text.get(at..)?.find(']')?)).unwrap_or(0);
    let colon = text.get(skip..).and_then(|rest| rest.find(':')).map(|at| at + skip);
    let parts = colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    let Some((jid, password)) = parts.filter(|(_, password)| !password.is_empty()) else {
        return Err(problem("a user of the lab has no password".to_owned()));
    };
    let jid = crate::admin::accounts::parse(jid).map_err(|error| problem(error.to_string()))?;
    Ok((jid, Secret(password.to_owned())))
}

/// An admin is one of the lab's users: a stranger could register the name of another one.
fn admin(text: &str, users: &[(BareJid, Secret)]) -> Result<String, Problem> {
    let jid = crate::admin::accounts::parse(text).map_err(|error| error.to_string());
    let known = jid.and_then(|jid| match users.iter().any(|(user, _)| *user == jid) {
        true => Ok(jid.to_string()),
        false => Err(format!("the lab has no user {jid}")),
    });
    known.map_err(|what| Problem {
        what,
        place: "--admin".to_owned(),
        fix: "name the account with its password too: --user alice@localhost:secret --admin \
              alice@localhost"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(domains: &[&str], users: &[&str], sets: &[(&str, &str)]) -> Result<Lab, Problems> {
        prepare_with(domains, users, &[], sets)
    }

    fn prepare_with(
        domains: &[&str],
        users: &[&str],
        admins: &[&str],
        sets: &[(&str, &str)],
    ) -> Result<Lab, Problems> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let set = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let common = Common { config: None, set, data_dir: None, json: false };
        let args = LabArgs {
            domain: owned(domains),
            split: Vec::new(),
            user: owned(users),
            admin: owned(admins),
            peer: Vec::new(),
            authority: None,
        };
        Lab::prepare(&common, &args)
    }

    #[test]
    fn domains_are_the_named_ones_and_those_of_the_users() {
        for (domains, users, served) in [
            (&[][..], &[][..], &["localhost"][..]),
            (&["a.example"], &[], &["a.example"]),
            (&["a.example"], &["u@b.example:p", "v@b.example:p"], &["a.example", "b.example"]),
            (&[], &["u@b.example:p"], &["b.example"]),
        ] {
            let lab = prepare(domains, users, &[]).unwrap();
            let hosts: Vec<_> =
                lab.first.loaded.config.host.iter().map(|h| h.domain.as_str()).collect();
            assert_eq!(hosts, served);
            assert_eq!(lab.first.users.len(), users.len());
            assert_eq!(lab.first.loaded.config.data_dir, lab.folder.path());
        }
    }

    #[test]
    fn a_user_is_an_address_and_all_that_follows() {
        for (text, jid, password) in [
            ("u@localhost:p", "u@localhost", "p"),
            ("U@localhost:p:q", "u@localhost", "p:q"),
            ("u@[::1]:p", "u@[::1]", "p"),
        ] {
            let (got, secret) = user(text).unwrap();
            assert_eq!((got.as_str(), secret.0.as_str()), (jid, password));
        }
        for wrong in ["", "u@localhost", "u@localhost:", ":p", "u:p", "u@[::1", "u@a/r:p"] {
            let told = user(wrong).unwrap_err().to_string();
            assert!(told.contains("--user"), "{wrong}");
        }
    }

    #[test]
    fn an_admin_is_a_user_of_the_lab() {
        let lab = prepare_with(&[], &["u@localhost:p"], &["U@localhost"], &[]).unwrap();
        assert_eq!(lab.first.loaded.config.admins().owners, ["u@localhost"]);
        for wrong in ["v@localhost", "localhost", "u@elsewhere"] {
            let told = prepare_with(&[], &["u@localhost:p"], &[wrong], &[]).unwrap_err();
            assert!(told.to_string().contains("--admin"), "{told}");
        }
    }

    #[test]
    fn any_key_can_be_set() {
        let lab = prepare(&[], &[], &[("c2s.require_tls", "false")]).unwrap();
        assert!(!lab.first.loaded.config.c2s.require_tls);
        // What the lab sets by itself must not stand in the way of what is set for it.
        let lab = prepare(&[], &[], &[("sasl.delay_first_ms", "250")]).unwrap();
        assert_eq!(lab.first.loaded.config.sasl.delay_first_ms, 250);
        assert!(
            prepare(&[], &[], &[("c2s.tls", "0")]).unwrap_err().to_string().contains("c2s.tls")
        );
    }

    #[test]
    fn a_domain_that_is_split_off_has_a_server_of_its_own() {
        let common = Common {
            config: None,
            set: vec![("c2s.listen".to_owned(), "127.0.0.1:15222".to_owned())],
            data_dir: None,
            json: false,
        };
        let lab = |domain: &[&str], split: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            let args = LabArgs {
                domain: owned(domain),
                split: owned(split),
                user: owned(&["u@a.example:p", "v@b.example:p"]),
                admin: Vec::new(),
                peer: Vec::new(),
                authority: None,
            };
            Lab::prepare(&common, &args)
        };
        let hosts = |server: &LabServer| {
            let hosts = &server.loaded.config.host;
            hosts.iter().map(|host| host.domain.clone()).collect::<Vec<_>>()
        };
        let two = lab(&["a.example", "b.example"], &["B.example"]).unwrap();
        assert_eq!((hosts(&two.first), two.split.len()), (vec!["a.example".to_owned()], 1));
        let (first, other) = (&two.first, &two.split[0]);
        assert_eq!(hosts(other), ["b.example"]);
        assert_eq!(
            (first.users[0].0.as_str(), other.users[0].0.as_str()),
            ("u@a.example", "v@b.example")
        );
        assert!(other.loaded.config.data_dir.starts_with(two.folder.path()));
        assert_ne!(other.loaded.config.data_dir, first.loaded.config.data_dir);
        // Two cannot listen on one port.
        let ports = |server: &LabServer| server.loaded.config.c2s.listen[0].port();
        assert_eq!((ports(first), ports(other)), (15_222, 0));
        let two = lab(&[], &["a.example", "b.example"]).unwrap();
        assert_eq!((hosts(&two.first), two.split.len()), (vec!["a.example".to_owned()], 1));
        assert!(lab(&[], &["u@a.example"]).unwrap_err().to_string().contains("--split"));
    }
}
