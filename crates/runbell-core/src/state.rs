//! The states of a run and the severities of a notification.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word in documents.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word),*
                }
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// The state of a run, in MLRun's words.
    RunState {
        /// It runs.
        Running = "running",
        /// It ended well.
        Completed = "completed",
        /// It failed.
        Error = "error",
        /// It was stopped.
        Aborted = "aborted",
        /// It exists and has not started. Never notifies, like all that follow.
        Created = "created",
        /// It waits to start.
        Pending = "pending",
        /// It failed and will be tried again.
        PendingRetry = "pendingRetry",
        /// It is being stopped.
        Aborting = "aborting",
        /// A workflow skipped it.
        Skipped = "skipped",
        /// The state is not known; words that are no state count as this.
        Unknown = "unknown",
    }
}

impl RunState {
    /// Whether entering this state can notify at all.
    pub fn notifies(self) -> bool {
        matches!(self, RunState::Running | RunState::Completed | RunState::Error | RunState::Aborted)
    }

    /// Whether a run in this state has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, RunState::Completed | RunState::Error | RunState::Aborted | RunState::Skipped)
    }
}

impl FromStr for RunState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL.iter().copied().find(|state| state.as_str() == word).ok_or(UnknownWord)
    }
}

words! {
    /// The severity of a notification. It is part of the text; it does not filter.
    #[derive(Default)]
    Severity {
        /// The default.
        #[default]
        Info = "info",
        /// For debugging.
        Debug = "debug",
        /// Details.
        Verbose = "verbose",
        /// A problem that needs attention.
        Warning = "warning",
        /// A failure.
        Error = "error",
    }
}

impl FromStr for Severity {
    type Err = UnknownWord;

    /// Letter case does not matter.
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL.iter().copied().find(|severity| severity.as_str().eq_ignore_ascii_case(word)).ok_or(UnknownWord)
    }
}

/// The word is not one of the known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownWord;

impl Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown word")
    }
}

impl std::error::Error for UnknownWord {}
