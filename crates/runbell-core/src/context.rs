//! The context of a sender: time, environment, output, shared clients. All replaceable.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, SystemClock};

/// The place of the sending process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// In the process of the runner.
    Here,
    /// On the server.
    Server,
}

/// The context in which senders are built. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Here or on the server.
    pub site: Site,
    /// The output of kinds that print.
    pub output: Output,
    /// Environment variables, and the files they name.
    pub env: Arc<dyn Env>,
    /// Values that senders share, such as HTTP clients.
    pub shared: Shared,
}

impl BuildContext {
    /// In the process of the runner: the system's clock, the process's environment, standard output.
    pub fn here() -> Self {
        BuildContext {
            clock: Arc::new(SystemClock),
            site: Site::Here,
            output: Output::stdout(),
            env: Arc::new(ProcessEnv),
            shared: Shared::default(),
        }
    }

    /// On a server: as here, but without an environment, because users' notifications must not read the operator's.
    pub fn server() -> Self {
        BuildContext { site: Site::Server, env: Arc::new(EmptyEnv), ..Self::here() }
    }
}

/// Looks up environment variables, and reads the files they name.
pub trait Env: Debug + Send + Sync {
    /// The value of a variable; `None` when it is unset, empty or no text.
    fn var(&self, name: &str) -> Option<String>;

    /// The text of a file that a variable names.
    ///
    /// # Errors
    /// As [`std::fs::read_to_string`].
    fn read_file(&self, path: &str) -> io::Result<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read_file(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// No environment at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmptyEnv;

impl Env for EmptyEnv {
    fn var(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_file(&self, _path: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// An environment from a table, for tests and embedders. It has no files.
impl Env for HashMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }

    fn read_file(&self, _path: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// An output for people. Cheap to clone; the text of one call is written in one piece.
#[derive(Clone)]
pub struct Output {
    writer: Arc<Mutex<dyn Write + Send>>,
    /// Whether to colour.
    pub colour: bool,
    /// The width of the terminal in columns; `None` where there is none.
    pub width: Option<u16>,
}

impl Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("colour", &self.colour).field("width", &self.width).finish_non_exhaustive()
    }
}

impl Output {
    /// Plain text to any writer.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Output { writer: Arc::new(Mutex::new(writer)), colour: false, width: None }
    }

    /// Plain text to standard output.
    pub fn stdout() -> Self {
        Output::to(io::stdout())
    }

    /// Plain text to standard error.
    pub fn stderr() -> Self {
        Output::to(io::stderr())
    }

    /// Sets whether to colour.
    #[must_use]
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// Sets the width of the terminal.
    #[must_use]
    pub fn with_width(mut self, width: Option<u16>) -> Self {
        self.width = width;
        self
    }

    /// Writes `text` in one piece.
    ///
    /// # Errors
    /// As the writer's; a closed pipe for one.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(text.as_bytes())?;
        writer.flush()
    }
}

/// One value of each type, shared by all senders of a process.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// The value of type `T`, made on first use. `make` must not access other shared values.
    pub fn get_or_init<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = values.get(&TypeId::of::<T>()).and_then(|value| Arc::clone(value).downcast().ok()) {
            return known;
        }
        let made = Arc::new(make());
        values.insert(TypeId::of::<T>(), Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }

    /// The value of type `T`, when there is one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(&TypeId::of::<T>()).and_then(|value| Arc::clone(value).downcast().ok())
    }

    /// Sets the value of type `T` for senders that are built later.
    pub fn set<T: Any + Send + Sync>(&self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<T>(), Arc::new(value));
    }
}
