//! `stonechat man` and `stonechat completions`: what the command line is, for man and for shells.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use crate::server::config::Problem;

/// Writes a page of the manual for each command into a folder, which is made.
pub(super) fn pages(folder: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    let Err(error) = written else { return ExitCode::SUCCESS };
    let problem = Problem {
        what: format!("the manual cannot be written: {error}"),
        place: folder.display().to_string(),
        fix: "name a folder that you may write to".to_owned(),
    };
    eprintln!("{problem}");
    ExitCode::FAILURE
}

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "stonechat", &mut std::io::stdout());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pages(folder.path()), ExitCode::SUCCESS);
        for page in
            ["stonechat.1", "stonechat-user.1", "stonechat-user-add.1", "stonechat-s2s-why.1"]
        {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".SH NAME"), "{page}: {text}");
        }
    }
}
