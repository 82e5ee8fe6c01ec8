//! The exit codes of every command.

use std::process::ExitCode;

/// Tells how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked for: 0.
    Success,
    /// It could not: 1.
    Failure,
    /// It was asked for what makes no sense, or its configuration has mistakes: 2.
    Usage,
    /// It ran, and a service level was missed: 99.
    SloMissed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
            Exit::Usage => Self::from(2),
            Exit::SloMissed => Self::from(99),
        }
    }
}
