//! What a feature costs: the files of the server that name it beside its own, its line in `modules!` and
//! its migration. `docs/cost.md` is made from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use stonechat::modules;

use super::assert_none;
use super::names::{Parts, after, numbers};
use super::owners;
use super::source::{Source, sources};

/// What is named outside all the same: feature, file, and why. To become fewer; what `owners` lists
/// with its reason is not said again.
const OUTSIDE: &[(&str, &str, &str)] = &[
    (
        "blocking",
        "src/modules/privilege/message.rs",
        "whom an account blocks nobody writes to in its name",
    ),
    ("components", "src/modules/api/component.rs", "what the operator says of components"),
    ("components", "src/net/component.rs", "where they connect"),
    ("components", "src/peer/component/", "their streams"),
    ("components", "src/server/config/", "their settings"),
    ("components", "src/stanza/content.rs", "their content namespace"),
    ("components", "src/stream/component/", "the machine of their streams"),
    ("components", "src/stream/framing/tcp.rs", "their content namespace"),
    ("delegation", "src/modules/api/component.rs", "what the operator says of components"),
    ("delegation", "src/peer/component/stream.rs", "what a component is told first"),
    ("delegation", "src/server/config/", "what the operator says of components"),
    ("disco", "src/modules/api/component.rs", "hosted domains list components"),
    ("privilege", "src/modules/api/component.rs", "what the operator says of components"),
    (
        "privilege",
        "src/peer/component/",
        "what a component is told first, and the bound of its requests",
    ),
    ("privilege", "src/peer/receiving.rs", "what a component may do beyond others"),
    ("muc", "src/moving/", "how other servers keep rooms"),
    ("pubsub", "src/moving/", "how other servers keep nodes"),
    ("upload", "src/moving/", "how other servers keep uploads"),
    ("privilege", "src/server/config/", "what the operator says of components"),
    (
        "roster",
        "src/modules/privilege/roster.rs",
        "a component may act on rosters as their owners do",
    ),
    (
        "subscription",
        "src/modules/privilege/roster.rs",
        "a roster push is the same for a component",
    ),
    ("avatar", "src/modules/pep/defaults.rs", "what its nodes are, if nobody says otherwise"),
    ("avatar", "src/modules/vcard/", "a vCard shows the same image"),
    ("bookmarks", "src/modules/pep/defaults.rs", "what its nodes are, if nobody says otherwise"),
    ("bookmarks", "src/modules/pubsub/config.rs", "what a node of private data is"),
    ("mam", "src/modules/muc/", "a room has an archive"),
    ("mam", "src/modules/offline/moves.rs", "a message that waits may be in the archive, too"),
    ("preferences", "src/modules/mam/moves.rs", "they move with the archive"),
    ("muc", "src/modules/csi.rs", "what a phone in the pocket need not hear at once"),
    ("muc", "src/modules/push/", "what is said in rooms wakes devices, too"),
    ("muc", "src/stanza/policy.rs", "the table of what is stored and copied"),
    ("muc", "src/xml/ns.rs", "its namespaces are read by others, too"),
    ("ping", "src/modules/muc/", "an occupant looks whether it is in the room still (XEP-0410)"),
    ("bookmarks", "src/modules/muc/away.rs", "of what members that are away want to be told"),
    ("bookmarks", "src/modules/push/", "of which messages of a room a device is woken"),
    ("register", "src/modules/muc/", "one registers with a room, too (XEP-0077)"),
    ("pep", "src/modules/bookmarks/", "are kept in a node of the account"),
    ("pep", "src/modules/read_marks.rs", "are kept in a node of the account"),
    ("pep", "src/modules/vcard/", "is kept in nodes of the account"),
    ("private", "src/modules/api/module.rs", "the hook: elements that are kept elsewhere"),
    ("private", "src/modules/bookmarks/", "are an element of private XML, too"),
    ("pubsub", "src/modules/api/module.rs", "the hook: nodes that follow others"),
    ("pubsub", "src/modules/avatar/", "is kept in nodes of the account"),
    ("pubsub", "src/modules/bookmarks/", "are kept in a node of the account"),
    ("push", "src/modules/muc/", "tells the devices of members that are away"),
    ("pubsub", "src/modules/push/marks.rs", "what was read elsewhere is in a node of the account"),
    ("pubsub", "src/modules/push/sender.rs", "a push service is told by a publication"),
    ("pubsub", "src/modules/read_marks.rs", "are kept in a node of the account"),
    ("pubsub", "src/modules/vcard/", "is kept in nodes of the account"),
    ("read_marks", "src/modules/push/marks.rs", "what was read elsewhere wakes no device"),
    ("read_marks", "src/modules/pep/defaults.rs", "what its node is, if nobody says otherwise"),
    ("vcard", "src/modules/pep/defaults.rs", "what its node is, if nobody says otherwise"),
    (
        "caps",
        "src/modules/pep/",
        "tells those who said by their capabilities that they want to hear",
    ),
    ("pep", "src/modules/api/module.rs", "the hooks: what accounts publish and want to hear of"),
    ("pep", "src/modules/caps/", "what capabilities say is what accounts want to hear of"),
    (
        "pep",
        "src/modules/pubsub/",
        "the engine knows accounts, a kind of service with rules of its own",
    ),
    ("pubsub", "src/modules/pep/", "is the engine for accounts"),
    ("pubsub", "src/modules/pubsub_service/", "is the engine for services"),
    ("commands", "src/modules/pubsub_service/", "has a command (XEP-0060 §8.7)"),
    ("subscription", "src/modules/teams/", "carries out what a team changes in rosters"),
    ("invite", "src/net/web/pages/", "the page of an invitation"),
    ("invite", "src/modules/administration/", "an operator's invitations are made as all are"),
    ("teams", "src/modules/administration/", "an admin's verbs over teams"),
    ("bookmarks", "src/modules/teams/bring.rs", "a team's rooms are bookmarks of its members"),
    ("muc", "src/admin/rooms.rs", "an operator's verbs over rooms"),
    ("muc", "src/modules/administration/", "an operator's verbs over rooms"),
    ("muc", "src/modules/teams/", "a team has rooms"),
    ("pep", "src/modules/teams/bring.rs", "a team's rooms are bookmarks of its members"),
    (
        "blocking",
        "src/modules/api/module.rs",
        "the hook: what else is written when somebody is blocked",
    ),
    ("caps", "src/modules/api/spec.rs", "the order of identities, which is that of their hash"),
    (
        "caps",
        "src/modules/disco.rs",
        "answers for the node that the hash is part of, and sorts as it does",
    ),
    ("caps", "src/modules/pipeline.rs", "features are sorted as their hash wants it"),
    ("carbons", "src/modules/csi.rs", "looks into a copy for what it carries"),
    (
        "carbons",
        "src/stanza/policy.rs",
        "its table of messages is the rules for archives and offline messages, too",
    ),
    ("commands", "src/modules/api/module.rs", "the hook"),
    ("commands", "src/modules/api/command.rs", "the hook: what a command is, for whoever has one"),
    ("commands", "src/modules/administration/forms.rs", "has commands"),
    ("commands", "src/modules/devices.rs", "has commands"),
    ("commands", "src/modules/disco.rs", "its items are commands (XEP-0050 §2.2)"),
    ("commands", "src/modules/pipeline.rs", "collects those of all modules"),
    ("commands", "src/stanza/form.rs", "a form's `cancel`, which commands take otherwise"),
    ("contacts", "src/net/web/pages/front.rs", "whom to turn to, for people without a client"),
    ("contacts", "src/server/config/validate.rs", "addresses in its settings are URIs"),
    ("data_policy", "src/server/config/validate.rs", "values of its settings"),
    ("devices", "src/modules/api/requester.rs", "how a session was opened"),
    ("devices", "src/server/build.rs", "whether a stream offers tokens"),
    ("devices", "src/server/config/validate.rs", "bounds of its settings"),
    ("devices", "src/store/tokens.rs", "tokens: their table"),
    ("devices", "src/stream/c2s/inline.rs", "tokens: a step of the login"),
    ("devices", "src/stream/c2s/step.rs", "tokens: a step of the login"),
    ("devices", "src/stream/c2s/request.rs", "tokens: what a login asks for"),
    ("devices", "src/stream/c2s/sasl2.rs", "tokens: a step of the login"),
    ("devices", "src/stream/features.rs", "tokens: a stream's feature"),
    ("devices", "src/stream/sasl/ht.rs", "tokens: their mechanism"),
    ("devices", "src/stream/sasl/mod.rs", "tokens: their mechanism among the others"),
    (
        "external",
        "src/server/config/validate.rs",
        "its list of services, and bounds of its settings",
    ),
    (
        "devices",
        "src/stream/sasl/upgrade.rs",
        "why who has a token is given no new keys: a comment",
    ),
    ("disco", "src/modules/api/spec.rs", "the hooks: identities and features"),
    ("disco", "src/modules/api/module.rs", "the hooks: identities and features"),
    ("commands", "src/modules/invite/commands.rs", "has commands"),
    ("last", "src/store/accounts.rs", "the last logout is a column of the account"),
    ("mam", "src/base/archive_id.rs", "the id of a kept message, which its stanza carries"),
    ("mam", "src/modules/api/reply.rs", "what an answer sends ahead of itself"),
    ("mam", "src/server/config/load.rs", "addresses in its settings are prepared as they are read"),
    ("mam", "src/server/config/mod.rs", "what single hosts say of their archives, in `[[host]]`"),
    ("mam", "src/server/config/validate.rs", "addresses in its settings must be of a host"),
    (
        "mam",
        "src/stanza/policy.rs",
        "its table of messages is the rules for carbons and offline messages, too",
    ),
    (
        "mam",
        "src/store/archive.rs",
        "the archive: what waits for a client is read from it, whoever may ask for it",
    ),
    ("mam", "src/store/archive/retention.rs", "the archive: its oldest rows go"),
    ("mam", "src/store/archive/retracted.rs", "the archive: a row is replaced"),
    ("mam", "src/modules/muc/", "a room has an archive, too"),
    ("muc", "src/stanza/retract.rs", "retractions between two are not those of moderators"),
    ("retraction", "src/modules/muc/", "authors and moderators take back what was said in a room"),
    (
        "vcard",
        "src/modules/muc/",
        "a room has a vCard of its own, and asks servers for its occupants'",
    ),
    ("commands", "src/modules/muc/hats.rs", "a room has commands of its own"),
    (
        "offline",
        "src/stanza/policy.rs",
        "its table of messages is the rules for carbons and archives, too",
    ),
    (
        "offline",
        "src/store/mailbox.rs",
        "the promise: what an account is owed, which the router itself keeps",
    ),
    ("preferences", "src/modules/mam/keep.rs", "asks what an account wants kept"),
    ("preferences", "src/modules/mam/mod.rs", "lists its requests: it is a part of that module"),
    (
        "pubsub",
        "src/stanza/policy.rs",
        "its table of messages says that notifications are not kept",
    ),
    (
        "muc",
        "src/server/config/mod.rs",
        "no bound of archives in a lab; how often the store says that something grew",
    ),
    (
        "quota",
        "src/server/config/mod.rs",
        "no quota in a lab; how often the store says that something grew",
    ),
    (
        "register",
        "src/modules/administration/effects.rs",
        "the operator's command deletes an account by the same way",
    ),
    ("register", "src/admin/accounts.rs", "tells the operator of a setting"),
    ("register", "src/modules/api/module.rs", "what a stranger may ask"),
    (
        "register",
        "src/server/cli/user.rs",
        "days until a deleted account goes, for the operator's commands",
    ),
    ("register", "src/modules/api/reply.rs", "the end of a stream with its account"),
    ("register", "src/net/web/pages/", "accounts and passwords without a client, by the same verb"),
    ("register", "src/server/config/mod.rs", "open in a lab; a warning where it is open"),
    ("register", "src/server/config/schema.rs", "what became of a former key"),
    ("register", "src/server/config/validate.rs", "bounds of its settings"),
    ("register", "src/stream/c2s/step.rs", "requests before authentication"),
    ("reports", "src/admin/reports.rs", "the operator's verbs"),
    ("reports", "src/store/reports.rs", "the table, which the operator's verbs read, too"),
    ("retraction", "src/modules/mam/mod.rs", "which messages an archive shows"),
    (
        "retraction",
        "src/stanza/retract.rs",
        "the format: what a message retracts, and what is left of that",
    ),
    ("retraction", "src/store/archive/retracted.rs", "finds and replaces rows of the archive"),
    (
        "roster",
        "src/modules/register/removal.rs",
        "an account that goes leaves the rosters of others",
    ),
    ("search", "src/modules/mam/mod.rs", "offers the field of a search"),
    ("search", "src/modules/mam/query.rs", "a field of the query"),
    ("search", "src/modules/mam/search.rs", "asks the index"),
    ("search", "src/modules/mam/search_terms.rs", "a field of the query"),
    ("search", "src/store/search.rs", "the index, in the engine of the store"),
    ("upload", "src/net/web/pages/converse.rs", "from where a web client may fetch files"),
    ("external", "src/server/check/external.rs", "whether its settings can be meant"),
    ("upload", "src/server/check/bucket.rs", "opens its bucket, and looks whether that answers"),
    ("upload", "src/server/cli/backup.rs", "what is in a bucket is in no backup"),
    ("upload", "src/server/config/mod.rs", "its files are in a folder of the data folder"),
    (
        "upload",
        "src/store/uploads.rs",
        "the table, which the operator's verbs and retractions change, too",
    ),
    ("upload", "src/admin/uploads.rs", "the operator's verbs"),
    ("commands", "src/modules/upload/owner.rs", "owners delete their files by commands"),
    (
        "subscription",
        "src/modules/invite/subscribe.rs",
        "a token subscribes both at once, in one transaction",
    ),
    (
        "subscription",
        "src/modules/invite/welcome.rs",
        "who was invited and who invites are subscribed with the account",
    ),
    (
        "subscription",
        "src/modules/roster.rs",
        "who is deleted from a roster is unsubscribed (RFC 6121 §2.5.2)",
    ),
];

/// Formats and rules for all, which stand on floors below: whoever names their numbers names no module.
const FOR_ALL: &[&str] =
    &["XEP-0004", "XEP-0059", "XEP-0082", "XEP-0085", "XEP-0203", "XEP-0297", "XEP-0334"];

/// Features that are files of another one's folder: name, files, number.
const PARTS: &[(&str, &[&[&str]], &str)] = &[(
    "preferences",
    &[&["modules", "mam", "preferences"], &["modules", "mam", "policy"]],
    "XEP-0441",
)];

struct Feature {
    name: &'static str,
    /// Its file, folder, or files.
    own: Vec<Vec<&'static str>>,
    numbers: BTreeSet<&'static str>,
}

/// What one file names.
struct Names {
    file: Source,
    numbers: BTreeSet<String>,
    paths: Vec<Vec<String>>,
    parts: BTreeSet<String>,
}

impl Names {
    /// Of all files but the lists of all modules and of all namespaces.
    fn of_all() -> Vec<Self> {
        let parts = Parts::read();
        let lists = ["src/modules/mod.rs", "src/xml/ns.rs"];
        let files = sources().into_iter().filter(|file| !lists.contains(&file.name.as_str()));
        let names = files.map(|file| Self {
            numbers: numbers(&file).collect(),
            paths: file
                .uses()
                .into_iter()
                .chain(file.exports().into_iter().map(|at| at.1))
                .collect(),
            parts: parts.named_in(&file),
            file,
        });
        names.collect()
    }
}

impl Feature {
    fn is_own(&self, path: &[String]) -> bool {
        self.own.iter().any(|own| {
            path.len() >= own.len() && path.iter().zip(own).all(|(there, own)| there == own)
        })
    }

    /// By what a file names it.
    fn named(&self, names: &Names) -> BTreeSet<String> {
        let numbers = names.numbers.iter().filter(|number| self.numbers.contains(number.as_str()));
        let paths = names.paths.iter().filter(|path| self.is_own(path));
        let paths = paths.map(|path| path.join("::"));
        let parts = names.parts.iter().filter(|name| *name == self.name);
        numbers.chain(parts).cloned().chain(paths).collect()
    }

    /// The other files that name it, by what; and the namespaces that nobody else speaks of, but stand in
    /// the list of those that are spoken of by many.
    fn outside(&self, all: &[Names]) -> BTreeMap<String, BTreeSet<String>> {
        let others = all.iter().filter(|names| !self.is_own(&names.file.module));
        let named = others.map(|names| (names.file.name.clone(), self.named(names)));
        let namespaces = ("src/xml/ns.rs".to_owned(), self.namespaces(all));
        named.chain([namespaces]).filter(|(_, names)| !names.is_empty()).collect()
    }

    fn namespaces(&self, all: &[Names]) -> BTreeSet<String> {
        let (own, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|names| self.is_own(&names.file.module));
        let spoken = |of: Vec<&Names>| -> BTreeSet<String> {
            let names = of.iter().flat_map(|names| after(&names.file.code, "ns::"));
            let constants = names.filter(|name| name.starts_with(char::is_uppercase));
            constants.map(|name| format!("ns::{name}")).collect()
        };
        spoken(own).difference(&spoken(others)).cloned().collect()
    }
}

fn features() -> Vec<Feature> {
    let parts = PARTS.iter().map(|(name, own, number)| Feature {
        name,
        own: own.iter().map(|path| path.to_vec()).collect(),
        numbers: [*number].into(),
    });
    let whole = modules::ALL.iter().map(|module| Feature {
        name: module.name,
        own: vec![vec!["modules", module.name]],
        numbers: module
            .specs
            .iter()
            .map(|spec| spec.name)
            .filter(|name| is_its_own(name))
            .collect(),
    });
    let mut all: Vec<_> = parts.chain(whole).collect();
    all.sort_by_key(|feature| feature.name);
    all
}

fn is_its_own(number: &str) -> bool {
    number.starts_with("XEP-")
        && !FOR_ALL.contains(&number)
        && PARTS.iter().all(|(_, _, part)| *part != number)
}

/// Whether an entry is for a file: its own, or its folder's.
fn is_at(entry: &str, file: &str) -> bool {
    entry == file || (entry.ends_with('/') && file.starts_with(entry))
}

/// Why a file names a feature, if that is said.
fn why(feature: &str, file: &str, names: &BTreeSet<String>) -> Option<String> {
    let said = OUTSIDE.iter().find(|(of, at, _)| *of == feature && is_at(at, file));
    let said = said.map(|(_, _, why)| (*why).to_owned());
    said.or_else(|| {
        let whys: Option<BTreeSet<_>> = names.iter().map(|name| owners::why(file, name)).collect();
        whys.map(|whys| whys.into_iter().collect::<Vec<_>>().join("; "))
    })
}

/// `docs/cost.md`
pub fn cost_md() -> String {
    let all = Names::of_all();
    let mut table = String::new();
    let mut whys = String::new();
    for feature in features() {
        let (name, outside) = (feature.name, feature.outside(&all));
        let own = feature.own.iter().map(|path| path.join("/")).collect::<Vec<_>>().join("`, `");
        writeln!(table, "| {name} | `{own}` | {} |", outside.len()).unwrap();
        for (file, names) in outside {
            let why = why(name, &file, &names).unwrap_or_default();
            writeln!(whys, "| {name} | `{file}` | {why} |").unwrap();
        }
    }
    format!("{HEAD}{table}{BETWEEN}{whys}")
}

const HEAD: &str = "# What a feature costs\n\n\
    Made from the code: `UPDATE_DOCS=1 cargo test --test tidy`.\n\n\
    A feature is a file or folder in `src/modules`, its line in `modules!`, and a migration if it keeps \
    something. Counted here are the other files in `src` that name it: by a path to its module, by its \
    part of the settings or of what is kept for it, by its XEP's number (comments too), by a namespace that \
    only it speaks of. The numbers of formats that all use (forms, result sets, dates, delays, forwarding, \
    hints) name no feature. A new feature has to have 0; `tests/tidy/cost.rs` fails where a file is \
    not among those below.\n\n\
    | feature | its own | other files |\n|---|---|---|\n";
const BETWEEN: &str = "\n## Which, and why\n\n| feature | file | why |\n|---|---|---|\n";

#[test]
fn a_feature_costs_its_file_and_its_line() {
    let all = Names::of_all();
    let (mut wrong, mut needed) = (Vec::new(), BTreeSet::new());
    for feature in features() {
        for (file, names) in feature.outside(&all) {
            if why(feature.name, &file, &names).is_none() {
                wrong.push(format!("{file} names {}: {names:?}", feature.name));
            }
            needed.insert((feature.name, file));
        }
    }
    let is_needed = |of: &str, at: &str| {
        needed.iter().any(|(feature, file): &(&str, String)| *feature == of && is_at(at, file))
    };
    let gone = OUTSIDE.iter().filter(|(of, at, _)| !is_needed(of, at));
    wrong.extend(gone.map(|(of, at, _)| format!("{at} names {of} no more: its entry goes")));
    assert_none(&wrong);
}
