//! The commands of XEP-0401, and those with which people look after what they gave out.

use crate::admin::accounts::AdminError;
use crate::admin::invitations::{self as verbs, Inviter, Kind, Made, Settings, Wanted};
use crate::base::time::{from_micros, micros, stamp};
use crate::modules::api::{Answers, Cx, Note, StageOutcome};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::form::{self, Written};
use crate::store::invitations::{self, Invitation};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Whoever has an account may invite; what for is a setting.
pub(super) fn may_invite(cx: &Cx) -> bool {
    cx.account().is_ok()
}

/// Who administers the server chooses names, too.
pub(super) fn may_create(cx: &Cx) -> bool {
    cx.role().is_admin()
}

/// §5.1: a link at once.
pub(super) async fn invite(cx: Cx) -> Result<StageOutcome, StanzaError> {
    let settings = settings(&cx);
    let registers = settings.registers && (cx.config.invite.users || cx.role().is_admin());
    make(&cx, &settings, Kind::Contact { registers }).await
}

/// §5.4: asks for the name, and whether the two become contacts.
pub(super) async fn create_account(
    cx: Cx,
    stages: Vec<Answers>,
) -> Result<StageOutcome, StanzaError> {
    let Some(answers) = stages.first() else { return Ok(account_form()) };
    let local = answers.get("username").first().cloned();
    let befriends = match answers.get("roster-subscription") {
        [] => false,
        [one] if one == "1" || one == "true" => true,
        [one] if one == "0" || one == "false" => false,
        _ => return Err(payload("roster-subscription is true or false")),
    };
    make(&cx, &settings(&cx), Kind::Account { local, befriends }).await
}

fn account_form() -> StageOutcome {
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Create account");
    for (ty, var, label) in [
        ("text-single", "username", "Username (empty: the invited person chooses)"),
        ("boolean", "roster-subscription", "Roster subscription: become contacts"),
    ] {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label).end();
    }
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

fn settings(cx: &Cx) -> Settings {
    let config = &cx.config.invite;
    Settings {
        registers: cx.config.register.takes_invited(),
        days: config.days,
        landing_url: config.landing(&cx.server.shared().web_address),
    }
}

async fn make(cx: &Cx, settings: &Settings, kind: Kind) -> Result<StageOutcome, StanzaError> {
    let makes_accounts = !matches!(kind, Kind::Contact { registers: false });
    if cx.role().is_admin() || !makes_accounts {
        return made(cx, settings, kind).await;
    }
    let counts = &cx.server.shared().invite;
    // 0 in the settings is none here, and refused below.
    if !counts.may_make(cx, cx.config.invite.per_account) {
        let error = StanzaError::resource_constraint().kind(ErrorType::Wait);
        return Err(error.text("too many invitations came from this address; try again in an hour"));
    }
    let outcome = made(cx, settings, kind).await;
    if outcome.is_err() {
        counts.not_made(cx);
    }
    outcome
}

async fn made(cx: &Cx, settings: &Settings, kind: Kind) -> Result<StageOutcome, StanzaError> {
    let jid = cx.bare();
    let most = if cx.role().is_admin() { ADMIN_MAX } else { cx.config.invite.per_account };
    let wanted = Wanted {
        host: jid.domain().to_owned(),
        inviter: Some(Inviter { account: cx.account()?, jid }),
        kind,
        team: None,
        uses: 1,
        days: settings.days,
        most,
    };
    let made = verbs::invite(&cx.store, settings, wanted, cx.now).await.map_err(refused)?;
    Ok(StageOutcome::Done { form: result(&made), note: None, effect: None })
}

/// The texts are for people; what names commands of the operator is not for users.
fn refused(error: AdminError) -> StanzaError {
    match error {
        AdminError::TooManyInvitations(most) => StanzaError::resource_constraint().text(format!(
            "{most} of your invitations are open or were used today: revoke one, or try again tomorrow"
        )),
        AdminError::Exists(_) | AdminError::Reserved(_) => {
            StanzaError::conflict().text("this username is taken; choose another one")
        }
        AdminError::Address(..) => payload("this username makes no address"),
        AdminError::Store(error) => error.into(),
        AdminError::Closed => StanzaError::not_allowed().text("nobody can make an account here"),
        _ => StanzaError::internal_server_error(),
    }
}

/// XEP-0050 §4.4
fn payload(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text).application(ns::COMMANDS, "bad-payload")
}

/// §5.1 calls the field of the time `expire`, §12.1 `expiry`; clients look for the first.
fn result(made: &Made) -> Vec<u8> {
    let mut xml = Xml::new();
    form::start(&mut xml, Written::Result, "urn:xmpp:invite#invitation");
    form::field(&mut xml, "text-single", "uri", &[&made.uri]);
    if let Some(page) = &made.landing {
        form::field(&mut xml, "text-single", "landing-url", &[page]);
    }
    form::field(&mut xml, "text-single", "expire", &[&stamp(from_micros(made.expires))]);
    xml.end();
    xml.finish().to_vec()
}

/// Those that can still be used. The links stand nowhere, so they cannot be shown again.
pub(super) async fn list(cx: Cx) -> Result<StageOutcome, StanzaError> {
    let open = open(&cx).await?;
    if open.is_empty() {
        return Ok(none());
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Result, "My invitations");
    let columns = [("number", "Number"), ("what", "For"), ("created", "Made"), ("expire", "Until")];
    form::reported(&mut xml, &columns);
    for one in &open {
        let date = |at| stamp(from_micros(at));
        form::item(
            &mut xml,
            &[
                ("number", &one.id.to_string()),
                ("what", &what(one)),
                ("created", &date(one.terms.created)),
                ("expire", &date(one.terms.expires)),
            ],
        );
    }
    xml.end();
    Ok(StageOutcome::Done { form: xml.finish().into(), note: None, effect: None })
}

/// The first stage chooses, the second takes them back.
pub(super) async fn revoke(cx: Cx, stages: Vec<Answers>) -> Result<StageOutcome, StanzaError> {
    let open = open(&cx).await?;
    let Some(answers) = stages.first() else { return Ok(which(&open)) };
    let named = |name: &String| open.iter().find(|one| one.id.to_string() == *name);
    let ids: Option<Vec<i64>> =
        answers.get(FIELD).iter().map(|name| named(name).map(|one| one.id)).collect();
    let Some(ids) = ids.filter(|ids| !ids.is_empty()) else {
        return Err(payload("choose among the invitations of the form"));
    };
    let count = ids.len();
    cx.store.write(move |tx| ids.iter().try_for_each(|id| invitations::revoke(tx, *id))).await?;
    Ok(StageOutcome::done(Note::info(match count {
        1 => "The invitation is revoked: nobody can use it any more.".to_owned(),
        more => format!("{more} invitations are revoked: nobody can use them any more."),
    })))
}

fn which(open: &[Invitation]) -> StageOutcome {
    if open.is_empty() {
        return none();
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Revoke invitations");
    let label = |one: &Invitation| {
        format!("{}: {} (made {})", one.id, what(one), stamp(from_micros(one.terms.created)))
    };
    let options: Vec<_> = open.iter().map(|one| (label(one), one.id.to_string())).collect();
    form::choice(&mut xml, "list-multi", FIELD, "Invitations", &options);
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

fn what(one: &Invitation) -> String {
    match (&one.terms.local, one.terms.registers) {
        (Some(local), _) => format!("account {local}@{}", one.terms.host),
        (None, true) => "account or contact".to_owned(),
        (None, false) => "contact".to_owned(),
    }
}

fn none() -> StageOutcome {
    StageOutcome::done(Note::info("None of your invitations is open."))
}

async fn open(cx: &Cx) -> Result<Vec<Invitation>, StanzaError> {
    let (account, now) = (cx.account()?, micros(cx.now));
    let all = cx.store.read(move |tx| invitations::of_account(tx, account)).await?;
    Ok(all.into_iter().filter(|one| one.state(now).is_ok()).collect())
}

const FIELD: &str = "invitations";
/// Invitations of an admin that are open at a time; one list shows them.
const ADMIN_MAX: u32 = 1_000;
