//! What `stonechat lab` takes.

use clap::Args;
use std::path::PathBuf;

/// What `stonechat lab` takes beside [`super::args::Common`].
#[derive(Debug, Clone, Args)]
pub struct LabArgs {
    /// Serve this domain, as often as wanted [default: the domains of --user, else localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Vec<String>,
    /// Give this domain a server of its own in the lab, as often as wanted: it speaks with the others of the lab as
    /// servers do, over real sockets
    #[arg(long, value_name = "DOMAIN")]
    pub split: Vec<String>,
    /// Make this account, as often as wanted: --user alice@localhost:secret
    #[arg(long, value_name = "JID:PASSWORD")]
    pub user: Vec<String>,
    /// Make the owner of the server of this account, as often as wanted: --admin alice@localhost
    #[arg(long, value_name = "JID")]
    pub admin: Vec<String>,
    /// Another server, by its address, as often as wanted: --peer b.example=127.0.0.1:5270
    #[arg(long, value_name = "DOMAIN=ADDRESS")]
    pub peer: Vec<String>,
    /// Share the authority for certificates with the labs that name the same folder [default with --peer: one of
    /// this user's, in the folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub authority: Option<PathBuf>,
}

pub(super) const LAB: &str = "\
Run the same server as always, thrown away when it ends: free loopback ports (printed), a certificate \
authority of its own, data in a temporary folder, registration open to all, no limit of connections \
from one address, no delay after failed logins. The environment and ./stonechat.toml are not read; \
--config and --set are, by the servers of --split, too; but ports and components that are set there are the \
first one's.";

pub(super) const LAB_EXAMPLES: &str = "\
Examples:
  stonechat lab --user alice@localhost:secret --user bob@localhost:secret
  stonechat lab --user alice@localhost:secret --admin alice@localhost
  stonechat lab --domain a.example --domain b.example
  stonechat lab --domain a.example --split b.example --user alice@a.example:secret --user bob@b.example:secret
                                   two servers that federate; the line of JSON tells of b.example in \"split\"
  stonechat lab --domain a.example --set s2s.listen=127.0.0.1:5271 --peer b.example=127.0.0.1:5272
                                   and another lab the other way round: they find and trust each other
  stonechat lab --set c2s.require_tls=false --set c2s.listen=127.0.0.1:15222
                                   logins without TLS, on a port of your choice";
