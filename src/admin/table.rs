//! The table of verbs: each stands here once, and the command line, the ad-hoc commands, the JSON API, its OpenAPI
//! document and the rights go by it.

use super::outcome::of;
use super::told::*;
use super::{AdHoc, Method, Rank, RoomPage, Verb};

/// The verb of a name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// A verb in three lines: its name, the tags of its variant, method and path; who may, whether it looks or changes, what it
/// does, and what it gives; its words on the command line, and its ad-hoc command, or why there is none.
macro_rules! verbs {
    ($($name:literal [$($tag:literal),+] $method:ident $path:literal;
        $least:ident $changes:ident $summary:literal => $gives:ident;
        $cli:literal $ad_hoc:ident $why:expr;)*) => {
        /// All verbs.
        pub const VERBS: &[Verb] = &[$(Verb {
            name: $name,
            tags: &[$($tag),+],
            method: Method::$method,
            path: $path,
            least: Rank::$least,
            changes: verbs!($changes),
            summary: $summary,
            gives: of::<$gives>,
            cli: $cli,
            ad_hoc: AdHoc::$ad_hoc($why),
        }),*];
    };
    (looks) => { false };
    (changes) => { true };
}

verbs! {
    "user.list" ["user_list"] Get "/accounts";
        Reader looks "Lists accounts" => AccountList;
        "user list" Node "http://jabber.org/protocol/admin#get-registered-users-list";
    "user.add" ["user_add"] Post "/accounts";
        Operator changes "Makes an account" => AccountMade;
        "user add" Node "http://jabber.org/protocol/admin#add-user";
    "user.show" ["user_show"] Get "/accounts/{jid}";
        Reader looks "Shows an account" => AccountShown;
        "user show" Node "http://jabber.org/protocol/admin#user-stats";
    "user.del" ["user_del"] Delete "/accounts/{jid}";
        Operator changes "Deletes an account; it can be restored for a while" => AccountDeleted;
        "user del" Node "http://jabber.org/protocol/admin#delete-user";
    "user.restore" ["user_restore"] Post "/accounts/{jid}/restore";
        Operator changes "Brings a deleted account back" => AccountRestored;
        "user restore" None "the commands of clients know no deletion that can be undone";
    "user.disable" ["user_disable"] Post "/accounts/{jid}/disable";
        Operator changes "Shuts an account; nothing of it is lost" => AccountTurned;
        "user disable" Node "http://jabber.org/protocol/admin#disable-user";
    "user.enable" ["user_enable"] Post "/accounts/{jid}/enable";
        Operator changes "Opens a shut account" => AccountTurned;
        "user enable" Node "http://jabber.org/protocol/admin#reenable-user";
    "user.passwd" ["user_passwd"] Put "/accounts/{jid}/password";
        Operator changes "Gives an account another password; its devices are logged out" => PasswordSet;
        "user passwd" Node "http://jabber.org/protocol/admin#change-user-password";
    "user.reset-link" ["user_reset_link"] Post "/accounts/{jid}/reset-link";
        Operator changes "Makes a link with which its owner sets a new password, once" => Link;
        "user reset-link" None "the link would stand in the admin's message archive";
    "user.role" ["user_role"] Get "/accounts/{jid}/role";
        Reader looks "Says which role an account has" => RoleShown;
        "user role" Node "http://jabber.org/protocol/admin#user-stats";
    "user.role.set" ["user_role_set"] Put "/accounts/{jid}/role";
        Owner changes "Gives an account a role" => RoleShown;
        "user role" Node "http://jabber.org/protocol/admin#edit-admin";
    "admin.list" ["admin_list"] Get "/admins";
        Reader looks "Lists the admins" => AdminList;
        "user role" Node "http://jabber.org/protocol/admin#edit-admin";
    "user.devices" ["user_devices"] Get "/accounts/{jid}/devices";
        Reader looks "Lists the devices of an account" => DeviceList;
        "user devices" None "an account's owner has them in the own client; an admin counts them in user-stats";
    "user.revoke" ["user_revoke"] Delete "/accounts/{jid}/devices/{device}";
        Operator changes "Logs a device out: it needs the password again" => DevicesRevoked;
        "user revoke" None "it begins with the list of devices, which is not there either";
    "user.revoke-all" ["user_revoke_all"] Delete "/accounts/{jid}/devices";
        Operator changes "Logs all devices of an account out" => DevicesRevoked;
        "user revoke" None "a new password does it (change-user-password)";
    "user.sessions" ["user_sessions"] Get "/accounts/{jid}/sessions";
        Reader looks "Lists the sessions of an account" => SessionList;
        "user sessions" Node "http://jabber.org/protocol/admin#user-stats";
    "user.logout" ["user_logout"] Delete "/sessions/{jid}";
        Operator changes "Ends the sessions of an account, or one of them" => SessionsEnded;
        "user logout" Node "http://jabber.org/protocol/admin#end-user-session";
    "invite.add" ["invite"] Post "/invitations";
        Inviter changes "Makes an invitation" => Link;
        "invite" Node "urn:xmpp:invite#create-account";
    "invite.list" ["invite_list"] Get "/invitations";
        Inviter looks "Lists the invitations that are open" => InvitationList;
        "invite list" Node "list-invitations";
    "invite.revoke" ["invite_revoke"] Delete "/invitations/{which}";
        Inviter changes "Takes an invitation back" => InvitationRevoked;
        "invite revoke" Node "revoke-invitations";
    "team.list" ["team", "list"] Get "/teams";
        Reader looks "Lists the teams" => TeamList;
        "team list" None TEAMS;
    "team.add" ["team", "add"] Post "/teams";
        Operator changes "Makes a team" => Done;
        "team add" None TEAMS;
    "team.show" ["team", "show"] Get "/teams/{name}";
        Reader looks "Shows who is in a team, and its rooms" => TeamShown;
        "team show" None TEAMS;
    "team.remove" ["team", "remove"] Delete "/teams/{name}";
        Operator changes "Takes a team away" => Done;
        "team remove" None TEAMS;
    "team.join" ["team", "join"] Post "/teams/{name}/members";
        Operator changes "Puts an account into a team, or gives it another name there" => Done;
        "team join" None TEAMS;
    "team.leave" ["team", "leave"] Delete "/teams/{name}/members/{jid}";
        Operator changes "Takes an account out of a team" => Done;
        "team leave" None TEAMS;
    "team.rooms" ["team", "rooms"] Get "/teams/{name}/rooms";
        Reader looks "Lists the rooms of a team" => TeamRooms;
        "team room list" None TEAMS;
    "team.room.add" ["team", "add_room"] Post "/teams/{name}/rooms";
        Operator changes "Gives a room to a team" => Done;
        "team room add" None TEAMS;
    "team.room.remove" ["team", "remove_room"] Delete "/teams/{name}/rooms/{room}";
        Operator changes "Takes a room from a team" => Done;
        "team room remove" None TEAMS;
    "room.list" ["room", "list"] Get "/rooms";
        Reader looks "Lists rooms" => RoomPage;
        "room list" Node "https://stonechat.im/muc#list-rooms";
    "room.create" ["room", "create"] Post "/rooms";
        Operator changes "Makes a room" => Done;
        "room create" Node "https://stonechat.im/muc#create-room";
    "room.show" ["room", "show"] Get "/rooms/{room}";
        Reader looks "Shows a room and who is in it" => RoomShown;
        "room show" None "service discovery shows rooms";
    "room.destroy" ["room", "destroy"] Delete "/rooms/{room}";
        Operator changes "Destroys a room with its archive" => Done;
        "room destroy" Node "https://stonechat.im/muc#destroy-room";
    "room.affiliation" ["room", "affiliation"] Put "/rooms/{room}/affiliations/{jid}";
        Operator changes "Makes somebody something to a room" => Done;
        "room affiliation" Node "https://stonechat.im/muc#set-affiliation";
    "room.purge" ["room", "purge"] Delete "/rooms/{room}/archive";
        Operator changes "Deletes what was said in a room" => Done;
        "room purge" Node "https://stonechat.im/muc#purge-room";
    "upload.owners" ["upload", "owners"] Get "/uploads";
        Reader looks "Lists who uploaded the most" => UploadOwners;
        "upload list" None FILES;
    "upload.list" ["upload", "list"] Get "/accounts/{jid}/uploads";
        Reader looks "Lists the files of an account" => UploadList;
        "upload list" None FILES;
    "upload.delete" ["upload", "delete"] Post "/uploads/delete";
        Operator changes "Deletes files, whosever they are" => UploadsDeleted;
        "upload delete" None FILES;
    "upload.delete-all" ["upload", "delete_all"] Delete "/accounts/{jid}/uploads";
        Operator changes "Deletes all that an account uploaded" => UploadsDeleted;
        "upload delete-all" None FILES;
    "report.list" ["report_list"] Get "/reports";
        Reader looks "Lists what people reported of those whom they blocked" => ReportList;
        "reports list" None REPORTS;
    "report.show" ["report_show"] Get "/reports/{id}";
        Operator looks "Shows a report" => ReportShown;
        "reports show" None REPORTS;
    "report.done" ["report_done"] Post "/reports/{id}/done";
        Operator changes "Notes that a report was dealt with" => Done;
        "reports done" None REPORTS;
    "announce" ["announce"] Post "/announcements";
        Operator changes "Sends a text to accounts" => Announced;
        "announce" Node "http://jabber.org/protocol/admin#announce";
    "notice.show" ["notice_show"] Get "/notices/{which}";
        Reader looks "Shows what accounts are told at login" => NoticeShown;
        "motd" Node "http://jabber.org/protocol/admin#edit-motd";
    "notice.set" ["notice_set"] Put "/notices/{which}";
        Operator changes "Changes what accounts are told at login" => NoticeShown;
        "motd" Node "http://jabber.org/protocol/admin#set-motd";
    "notice.delete" ["notice_delete"] Delete "/notices/{which}";
        Operator changes "Has accounts told nothing at login" => NoticeShown;
        "motd" Node "http://jabber.org/protocol/admin#delete-motd";
    "s2s.list" ["peers", "list"] Get "/servers";
        Reader looks "Lists the streams with other servers and what waits" => ServerList;
        "s2s list" Node "https://stonechat.im/s2s#list";
    "s2s.why" ["peers", "why"] Get "/servers/{domain}";
        Reader looks "Says what failed lately with a server and what waits" => ServerShown;
        "s2s why" Node "https://stonechat.im/s2s#why";
    "s2s.test" ["peers", "test"] Post "/servers/{domain}/test";
        Operator looks "Tries to reach a server, and says each step" => ServerTest;
        "s2s test" Node "https://stonechat.im/s2s#test";
    "s2s.retry" ["peers", "retry"] Post "/servers/{domain}/retry";
        Operator changes "Tries a server now for which something waits" => Done;
        "s2s retry" Node "https://stonechat.im/s2s#retry";
    "s2s.drop" ["peers", "drop"] Delete "/servers/{domain}/queue";
        Operator changes "Gives up what waits for a server" => Done;
        "s2s drop" Node "https://stonechat.im/s2s#drop";
    "s2s.rules" ["peers", "rules"] Get "/server-rules";
        Reader looks "Lists which servers are let in and kept out" => ServerRules;
        "s2s rules" Node "https://stonechat.im/s2s#rules";
    "s2s.allow" ["peers", "allow"] Put "/server-rules/{domain}/allow";
        Operator changes "Lets a server in" => Done;
        "s2s allow" Node "https://stonechat.im/s2s#allow";
    "s2s.deny" ["peers", "deny"] Put "/server-rules/{domain}/deny";
        Operator changes "Keeps a server out" => Done;
        "s2s deny" Node "https://stonechat.im/s2s#deny";
    "s2s.forget" ["peers", "forget"] Delete "/server-rules/{domain}";
        Operator changes "Takes back what was said of a server" => Done;
        "s2s forget" Node "https://stonechat.im/s2s#forget";
    "cert.list" ["certificates", "list"] Get "/certificates";
        Reader looks "Lists the certificates in use, and says how ordering stands" => CertList;
        "cert list" None MACHINE;
    "cert.renew" ["certificates", "renew"] Post "/certificates/renew";
        Operator changes "Orders a certificate if one is due, and waits for it" => CertRenewed;
        "cert renew" None MACHINE;
    "status" ["status"] Get "/status";
        Reader looks "Shows the load of the running server" => Status;
        "status" None MACHINE;
    "backup" ["backup"] Post "/backups";
        Owner changes "Copies the database into a new file" => BackupMade;
        "backup" None MACHINE;
    "config.show" ["config_show"] Get "/configuration";
        Operator looks "Shows the configuration without secrets" => ConfigShown;
        "config show" None MACHINE;
    "log.tail" ["log_tail"] Get "/log";
        Operator looks "Shows the newest lines of the log" => LogLines;
        "log" None MACHINE;
    "audit.list" ["audit_list"] Get "/audit";
        Operator looks "Lists what operators did, the newest first" => AuditList;
        "audit" None MACHINE;
    "token.list" ["token_list"] Get "/tokens";
        Owner looks "Lists the tokens of this API" => TokenList;
        "token list" None MACHINE;
    "token.add" ["token_add"] Post "/tokens";
        Owner changes "Makes a token for this API, which is shown once" => TokenMade;
        "token add" None "the token would stand in the admin's message archive";
    "token.revoke" ["token_revoke"] Delete "/tokens/{name}";
        Owner changes "Takes a token back" => Done;
        "token revoke" None MACHINE;
}

const TEAMS: &str = "no client shows forms for what only this server has";
const FILES: &str = "files are too many for a form in a client";
const REPORTS: &str = "reports quote strangers; they are read where nobody's archive keeps them";
const MACHINE: &str = "it is for whoever has the machine, and for programs";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_verb_stands_there_once() {
        let names: BTreeSet<_> = VERBS.iter().map(|verb| verb.name).collect();
        assert_eq!(names.len(), VERBS.len());
        let paths: BTreeSet<_> =
            VERBS.iter().map(|verb| (verb.method.as_str(), verb.path)).collect();
        assert_eq!(paths.len(), VERBS.len());
        let tags: BTreeSet<_> = VERBS.iter().map(|verb| verb.tags).collect();
        assert_eq!(tags.len(), VERBS.len());
    }

    #[test]
    fn what_only_looks_is_a_get() {
        for verb in VERBS {
            let looks = verb.method == Method::Get;
            // To try a server changes nothing here, and is no look either.
            let tries = verb.name == "s2s.test";
            assert_eq!(looks || tries, !verb.changes, "{}", verb.name);
        }
    }
}
