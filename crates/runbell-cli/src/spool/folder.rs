//! The spool's folder: a sealed file for each event, which only this user can read.
//!
//! A file names server, project, uid, state and time in clear; token and body, which holds the secret params of
//! notifications, are sealed with the key in a file beside the folder. So a copy of the folder alone reveals no secret.
//!
//! **Invariant:** a file is written whole or not at all; it is removed only when the server has its event, and renamed
//! when the server refuses it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runbell::remote::RemoteEvent;
use runbell::{Clock as _, Secret, SystemClock};
use runbell_store::seal::KeyRing;
use serde::{Deserialize, Serialize};

use crate::documents::shown;

/// The key's id in sealed texts.
const KEY_ID: &str = "spool";

/// The extension of a spooled event's file; a refused event's file gets another one.
const SPOOLED: &str = "json";
const REFUSED: &str = "json.refused";

/// The user's spool.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
    key: PathBuf,
    /// Locked by the process that sends. A separate file, because not every file system can lock folders.
    lock: PathBuf,
}

/// The right to send the spooled events; released when dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held, not read")] Option<File>);

/// A spooled event's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) server: String,
    pub(crate) project: String,
    pub(crate) uid: String,
    pub(crate) state: String,
    pub(crate) at: String,
    /// The sealed content, in Base64.
    sealed: String,
}

/// The content that is sealed.
#[derive(Serialize, Deserialize)]
struct Content {
    token: Option<String>,
    body: String,
}

impl Spool {
    /// The user's spool: below `XDG_STATE_HOME`, else below `~/.local/state`. It need not exist.
    ///
    /// # Errors
    /// When the environment names neither.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        match state {
            Some(state) => Ok(Spool::below(&state)),
            None => bail!("there is no place for a spool; set HOME or XDG_STATE_HOME"),
        }
    }

    fn below(state: &Path) -> Self {
        let ours = state.join("runbell");
        Spool { folder: ours.join("spool"), key: ours.join("spool.key"), lock: ours.join("spool.lock") }
    }

    /// The folder, for messages.
    pub(crate) fn shown(&self) -> String {
        shown(&self.folder)
    }

    /// Writes events that `server` does not have. Returns how many are on disk, and the error if not all are.
    pub(crate) fn add(
        &self,
        events: &[RemoteEvent],
        server: &str,
        token: Option<&Secret<String>>,
    ) -> (usize, anyhow::Result<()>) {
        let mut written = 0;
        let mut write = || {
            self.prepare()?;
            let keys = self.keys(true)?;
            // One time for all, so that a clock that is set back does not change their order.
            let now = SystemClock.now().strftime("%Y%m%dT%H%M%S.%6fZ").to_string();
            for (number, event) in events.iter().enumerate() {
                let uid: String = event.run().uid().chars().filter(char::is_ascii_alphanumeric).take(64).collect();
                let entry = Entry::seal(event, server, token, &keys)?;
                self.write(&format!("{now}-{uid}-{number:04}.{SPOOLED}"), &serde_json::to_vec(&entry)?)?;
                written += 1;
            }
            Ok(())
        };
        let outcome = write();
        (written, outcome)
    }

    /// The right to send the spooled events; `None` when another process has it.
    ///
    /// # Errors
    /// When the lock's file cannot be opened or locked.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let cannot = || format!("{}: cannot be locked", shown(&self.lock));
        if !self.folder.exists() {
            // Without a folder no event can be sent twice.
            return Ok(Some(Lock(None)));
        }
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.open(&self.lock).with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    /// The spooled events' files, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", self.shown())),
        };
        let mut files: Vec<PathBuf> = listed
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // A name with a leading dot is a file that is not complete yet.
                name.ends_with(&format!(".{SPOOLED}")) && !name.starts_with('.')
            })
            .collect();
        files.sort();
        Ok(files)
    }

    /// Reads the clear part of a file.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    pub(crate) fn read(&self, path: &Path) -> Result<Entry, String> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err("is not a regular file".to_owned()),
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        let text = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        // The parser's message may quote the text.
        serde_json::from_slice(&text).map_err(|_| "is damaged: it is no spooled event".to_owned())
    }

    /// Opens the sealed part of a file: the event, and the token to send it with.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    pub(crate) fn open(&self, entry: &Entry) -> Result<(RemoteEvent, Option<Secret<String>>), String> {
        let damaged = || format!("cannot be opened: it is damaged, or {} is not its key", shown(&self.key));
        let keys = self.keys(false).map_err(|error| format!("cannot be opened: {error:#}"))?;
        let sealed = STANDARD.decode(&entry.sealed).map_err(|_| damaged())?;
        let text = keys.open(&entry.project, &entry.bound(), &sealed).map_err(|_| damaged())?;
        let content: Content = serde_json::from_str(&text).map_err(|_| damaged())?;
        let event = RemoteEvent::from_body(&content.body).map_err(|_| damaged())?;
        Ok((event, content.token.map(Secret::new)))
    }

    /// Removes an event that the server has.
    ///
    /// # Errors
    /// As the file system's; the event is then sent again.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        self.sync()
    }

    /// Renames the file of an event that the server refuses. Returns its new name.
    ///
    /// # Errors
    /// As the file system's.
    pub(crate) fn set_aside(&self, path: &Path) -> io::Result<PathBuf> {
        let aside = path.with_extension(REFUSED);
        fs::rename(path, &aside)?;
        self.sync()?;
        Ok(aside)
    }

    /// Makes the folders, for this user alone.
    fn prepare(&self) -> anyhow::Result<()> {
        let cannot = || format!("{}: cannot be made", self.shown());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).with_context(cannot)?;
        let ours = self.folder.parent().into_iter().chain([self.folder.as_path()]);
        for folder in ours {
            let metadata = fs::metadata(folder).with_context(cannot)?;
            if metadata.uid() != rustix::process::geteuid().as_raw() {
                bail!("{}: belongs to another user", shown(folder));
            }
            if metadata.mode() & 0o777 != 0o700 {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(cannot)?;
            }
        }
        Ok(())
    }

    /// The key, made on first use when `make` says so.
    fn keys(&self, make: bool) -> anyhow::Result<KeyRing> {
        let name = || shown(&self.key);
        let bytes = match fs::read(&self.key) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => self.make_key()?,
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", name())),
        };
        let Ok(key) = <[u8; 32]>::try_from(bytes) else {
            bail!("{}: is damaged: it must hold 32 bytes; move it away, and a new one is made", name());
        };
        Ok(KeyRing::new([(KEY_ID.to_owned(), key)])?)
    }

    /// Makes a key, unless another process is faster. Returns the key in the file.
    fn make_key(&self) -> anyhow::Result<Vec<u8>> {
        let cannot = || format!("{}: cannot be written", shown(&self.key));
        let beside = self.key.parent().unwrap_or(&self.folder);
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
        let mut file = tempfile::NamedTempFile::new_in(beside).with_context(cannot)?;
        file.write_all(&key).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
        match file.persist_noclobber(&self.key) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error).with_context(cannot),
        }
        File::open(beside).and_then(|folder| folder.sync_all()).with_context(cannot)?;
        fs::read(&self.key).with_context(cannot)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let cannot = || format!("{}: cannot be written", self.shown());
        // Only this user can read such a file.
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&self.folder).with_context(cannot)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
        file.persist(self.folder.join(name)).map_err(|error| error.error).with_context(cannot)?;
        self.sync().with_context(cannot)
    }

    /// Syncs the folder, so that the names of files survive a crash.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Entry {
    fn seal(event: &RemoteEvent, server: &str, token: Option<&Secret<String>>, keys: &KeyRing) -> anyhow::Result<Self> {
        let mut entry = Entry {
            server: server.to_owned(),
            project: event.run().project().to_owned(),
            uid: event.run().uid().to_owned(),
            state: event.state().to_string(),
            at: event.at().to_string(),
            sealed: String::new(),
        };
        let body = String::from_utf8_lossy(event.body()).into_owned();
        let content = serde_json::to_string(&Content { token: token.map(|token| token.reveal().clone()), body })?;
        entry.sealed = STANDARD.encode(keys.seal(&entry.project, &entry.bound(), &content)?);
        Ok(entry)
    }

    /// The data bound to the seal: a token must not be opened for a server other than its own.
    fn bound(&self) -> String {
        [&self.server, &self.uid, &self.state, &self.at].map(String::as_str).join("\n")
    }
}
