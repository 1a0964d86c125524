//! Asking for voice (XEP-0045 §7.13), and giving it to who asks (§8.6).

use std::time::SystemTime;

use super::judge;
use super::outputs::Outputs;
use super::rights::Role;
use super::room::Room;
use super::say::NORMAL;
use super::standing::By;
use crate::jid::Jid;
use crate::stanza::form::{self, Form, Written};
use crate::stanza::{Frame, StanzaError};
use crate::xml::writer::{Xml, escape_attr};

/// FORM_TYPE of requests for voice.
pub const REQUEST: &str = "http://jabber.org/protocol/muc#request";
const ROLE: &str = "muc#role";
const JID: &str = "muc#jid";
const NICK: &str = "muc#roomnick";
const ALLOW: &str = "muc#request_allow";

/// What somebody sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voice {
    /// A visitor asks.
    Asked,
    /// A moderator answers.
    Answered {
        /// The nickname.
        nick: String,
        /// Who had it when it asked.
        jid: Jid,
        /// It gets voice.
        allows: bool,
    },
}

impl Voice {
    /// Reads the form.
    pub fn read(form: &Form<'_>) -> Result<Self, StanzaError> {
        if form.value(ROLE)? != Some(Role::Participant.as_str()) {
            return Err(bad("what is asked for is the role of a participant"));
        }
        let Some(allows) = form.value(ALLOW)? else { return Ok(Self::Asked) };
        let missing = || bad("a field is missing");
        let jid = form.value(JID)?.ok_or_else(missing)?;
        Ok(Self::Answered {
            nick: form.value(NICK)?.ok_or_else(missing)?.to_owned(),
            jid: Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())?,
            allows: matches!(allows, "1" | "true"),
        })
    }
}

impl Room {
    /// §7.13, §8.6: to the moderators who are there.
    pub fn ask_for_voice(
        &mut self,
        from: &Jid,
        id: Option<&str>,
        now: SystemTime,
        out: &mut Outputs,
    ) -> Result<(), StanzaError> {
        let occupant = self.speaker(from)?;
        if !self.settings.voice_requests {
            return Err(StanzaError::forbidden().text("voice is not asked for in this room"));
        }
        if occupant.role != Role::Visitor {
            return Err(bad("you have voice"));
        }
        let nick = occupant.nick.text.to_string();
        let max = self.bounds.invites_per_minute;
        self.letters.count(from.bare_str(), 1, now, max)?;
        let moderators = self.those(|one| one.role == Role::Moderator);
        let mut xml = Xml::new();
        write(&mut xml, from, &nick);
        let mut head = format!("<message from=\"{}\"", escape_attr(self.jid.as_str()));
        if let Some(id) = id {
            head.push_str(&format!(" id=\"{}\"", escape_attr(id)));
        }
        let frame = Frame::of(head, [b">", &*xml.finish(), b"</message>"].concat());
        out.tell(moderators, &Jid::from(self.jid.clone()), NORMAL, frame);
        Ok(())
    }

    /// §8.6: as a moderator may give voice at any time (§8.3).
    pub fn answer_for_voice(
        &mut self,
        from: &Jid,
        (nick, jid, allows): (&str, &Jid, bool),
        out: &mut Outputs,
    ) -> Result<(), StanzaError> {
        let rank = self.rank(from);
        if !rank.moderates() {
            return Err(StanzaError::forbidden().text("only moderators may do this"));
        }
        if !allows {
            return Ok(());
        }
        // Who has the nickname now may be another.
        let target =
            self.occupant(nick).filter(|one| one.seats.iter().any(|seat| seat.jid == *jid));
        let target = target
            .ok_or_else(|| StanzaError::item_not_found().text("who asked is not here any more"))?;
        let own = judge::Rank { affiliation: self.affiliation(target.bare()), role: target.role };
        if target.role != Role::Visitor {
            // Another moderator was faster.
            return Ok(());
        }
        judge::role(rank, own, Role::Participant, false)?;
        let key = target.nick.key.clone();
        let actor = self.occupant_of(from).map(|occupant| occupant.nick.text.to_string());
        self.change_role(&key, Role::Participant, &By { actor, ..By::default() }, &[], out);
        Ok(())
    }
}

fn write(xml: &mut Xml, jid: &Jid, nick: &str) {
    form::titled(xml, Written::Form, "Voice request");
    form::field(xml, "hidden", "FORM_TYPE", &[REQUEST]);
    xml.element(
        "instructions",
        None,
        "To approve this request for voice, select the \"Grant voice to this person?\" checkbox and \
         click OK. To skip this request, click the cancel button.",
    );
    for (ty, var, label, value) in [
        ("list-single", ROLE, "Requested role", Role::Participant.as_str()),
        ("jid-single", JID, "User ID", jid.as_str()),
        ("text-single", NICK, "Room Nickname", nick),
        ("boolean", ALLOW, "Grant voice to this person?", "false"),
    ] {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        xml.element("value", None, value).end();
    }
    xml.end();
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}
