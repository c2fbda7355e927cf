//! One comment for each run, kept up to date: found, edited, and made again after it was deleted.
//!
//! An update first registers its state and then waits for its turn; each turn shows the newest state registered so far.
//! So an older state never overwrites a newer one, fifty updates at once take two turns rather than fifty, and a comment
//! that was deleted in between comes back with the newest state.
//!
//! **Invariant:** within a process there is one turn at a time for each comment, so it is never made twice. Across
//! processes the marker's time keeps newer states; two processes that both find no comment may both make one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use runbell_core::{Bytes, Error, ErrorKind, HttpRequest, Receipt, Result, Secret, SendContext, Timestamp};
use runbell_http::Answer;
use serde::Deserialize;

use crate::exchange::{Exchange, body_of};
use crate::forge::{Comments, Forge, NO_API};
use crate::marker::Marker;

/// The largest page of a hundred comments, in bytes.
const PAGE: usize = 64 << 20;

/// How many pages are searched: ten thousand comments.
const PAGES: u32 = 100;

/// How often the search is repeated when a comment vanishes while it is edited.
const ROUNDS: u32 = 3;

/// How far ahead of this process's clock a marker may be and still count as newer. Clocks differ by less; a time in the
/// far future would prevent every update for good.
const AHEAD: Duration = Duration::from_secs(3600);

/// How many idle comments are remembered.
const REMEMBERED: usize = 1_000;

/// Keeps one comment up to date.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) forge: Forge,
    pub(crate) comments: Comments,
    pub(crate) token: Secret<String>,
}

/// The comments of this process, by place and subject: one list for all notifiers, because two of them could make one
/// comment each.
static SLOTS: LazyLock<Mutex<Slots>> = LazyLock::new(Mutex::default);

/// By URL, by the marker's run, and by token: a comment that one token may not write is never written with another.
type Slots = HashMap<(String, String, Secret<String>), Arc<Slot>>;

/// One comment.
#[derive(Debug, Default)]
struct Slot {
    /// The newest state registered.
    newest: Mutex<Option<Wanted>>,
    /// How many updates were registered.
    said: AtomicU64,
    turn: tokio::sync::Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    /// The comment, once it is known.
    id: Option<u64>,
    /// All updates before this number are shown.
    shown: u64,
}

/// The state a comment shall show.
#[derive(Debug, Clone)]
struct Wanted {
    at: Timestamp,
    run: String,
    text: String,
    /// The request that makes the comment.
    create: HttpRequest,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
}

/// The result of editing a comment.
#[derive(Debug)]
enum Edit {
    Shown(Receipt),
    Vanished,
    Foreign,
}

/// The result of searching for the comment.
#[derive(Debug)]
enum Look {
    /// It was found, and shows the wanted state.
    Shown(u64, Receipt),
    /// There is none.
    Nothing,
    /// It was there, and deleted meanwhile.
    Vanished,
}

fn slot(all: &str, run: &str, token: &Secret<String>) -> Arc<Slot> {
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if slots.len() >= REMEMBERED {
        slots.retain(|_, slot| Arc::strong_count(slot) > 1);
    }
    Arc::clone(slots.entry((all.to_owned(), run.to_owned(), token.clone())).or_default())
}

impl Slot {
    /// Registers an update, and returns its number.
    fn say(&self, wanted: Wanted, now: Timestamp) -> u64 {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two states at the same moment the one registered later is the newer.
        if newest.as_ref().is_none_or(|known| !is_newer(known.at, wanted.at, now)) {
            *newest = Some(wanted);
        }
        self.said.fetch_add(1, Ordering::SeqCst)
    }

    /// The newest state, and the number of updates it covers.
    fn newest(&self) -> Option<(Wanted, u64)> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        Some((newest.clone()?, self.said.load(Ordering::SeqCst)))
    }
}

impl Living {
    /// Shows the state that `create` would post as a new comment.
    pub(crate) async fn show(&self, create: &HttpRequest, cx: &SendContext<'_>) -> Result<Receipt> {
        let wanted = wanted(create)?;
        let slot = slot(&self.comments.all, &wanted.run, &self.token);
        let number = slot.say(wanted, cx.now);
        let mut turn = slot.turn.lock().await;
        if turn.shown > number {
            return Ok(Receipt { answer: "shown with newer news".into() });
        }
        let Some((newest, covered)) = slot.newest() else {
            return Err(Error::new(ErrorKind::Internal, "a comment has nothing to say"));
        };
        let receipt = self.bring_up_to_date(&newest, &mut turn.id, cx).await?;
        turn.shown = covered;
        Ok(receipt)
    }

    async fn bring_up_to_date(&self, wanted: &Wanted, id: &mut Option<u64>, cx: &SendContext<'_>) -> Result<Receipt> {
        if let Some(known) = id.take()
            && let Some(comment) = self.read(known, cx).await?
            && let Edit::Shown(receipt) = self.update(&comment, wanted, true, cx).await?
        {
            *id = Some(known);
            return Ok(receipt);
        }
        let mut gone = HashSet::new();
        for _ in 0..ROUNDS {
            match self.look(wanted, &mut gone, cx).await? {
                Look::Shown(found, receipt) => {
                    *id = Some(found);
                    return Ok(receipt);
                }
                Look::Nothing => return self.create(wanted, id, cx).await,
                Look::Vanished => {}
            }
        }
        Err(Error::new(ErrorKind::Unreachable, "the comment vanishes whenever it is edited").retry())
    }

    /// Searches for the comment page by page, the oldest first, and updates the first that is ours.
    /// `gone` are those that could not be found for editing.
    async fn look(&self, wanted: &Wanted, gone: &mut HashSet<u64>, cx: &SendContext<'_>) -> Result<Look> {
        let (mut seen, mut vanished) = (HashSet::new(), false);
        for page in 1..=PAGES {
            let answer = self.get(self.comments.page(page), cx).await?;
            self.forge.classify(&answer).map_err(|error| answer.explain(error))?;
            let comments: Vec<Comment> = read_json(&answer)?;
            // A server that does not turn pages gives the same one again and again.
            let known = seen.len();
            seen.extend(comments.iter().map(|comment| comment.id));
            let is_last = seen.len() == known || !has_next(&answer, comments.len());
            for comment in comments.iter().filter(|comment| comment.marker().is_some_and(|it| it.run == wanted.run)) {
                match self.update(comment, wanted, false, cx).await? {
                    Edit::Shown(receipt) => return Ok(Look::Shown(comment.id, receipt)),
                    // A comment that is listed again was not deleted; the token just may not see it.
                    Edit::Vanished => vanished |= gone.insert(comment.id),
                    Edit::Foreign => {}
                }
            }
            if is_last {
                // Comments behind a deleted one move up, perhaps to a page that was searched already.
                return Ok(if vanished { Look::Vanished } else { Look::Nothing });
            }
        }
        let message = "there are too many comments to look through for the one to edit; use another issue, or do without \
                       `update`";
        Err(Error::new(ErrorKind::Rejected, message))
    }

    /// Updates one comment. A copy of the marker in a stranger's comment shows when that cannot be edited, so a comment
    /// that is not known to be ours is edited even if it shows the wanted state, or a newer one.
    async fn update(&self, comment: &Comment, wanted: &Wanted, is_ours: bool, cx: &SendContext<'_>) -> Result<Edit> {
        let is_newer = |comment: &Comment| comment.marker().is_some_and(|it| is_newer(it.at, wanted.at, cx.now));
        if is_ours && (is_newer(comment) || comment.says(&wanted.text)) {
            return Ok(Edit::Shown(Receipt { answer: "it is shown already".into() }));
        }
        let mut body = wanted.create.body.clone();
        if is_newer(comment) {
            // Its text must be written back as it is now, not as it was when it was listed.
            let Some(comment) = self.read(comment.id, cx).await? else { return Ok(Edit::Vanished) };
            if let (true, Some(theirs)) = (is_newer(&comment), &comment.body) {
                body = body_of(theirs);
            }
        }
        let request = self.request(self.forge.edits_by(), self.comments.one(comment.id), body);
        let answer = self.exchange.send(&request, cx).await?;
        match (answer.status(), self.forge.classify(&answer)) {
            // Deleted in between.
            (404 | 410, _) => Ok(Edit::Vanished),
            // Not ours to edit; a limit is something else.
            (403, Err(error)) if error.kind() == ErrorKind::Unauthorized => Ok(Edit::Foreign),
            (_, outcome) => Ok(Edit::Shown(outcome?)),
        }
    }

    async fn create(&self, wanted: &Wanted, id: &mut Option<u64>, cx: &SendContext<'_>) -> Result<Receipt> {
        let answer = self.exchange.send(&wanted.create, cx).await?;
        let receipt = self.forge.classify(&answer).map_err(|error| answer.explain(error))?;
        // Without the number the marker finds it the next time.
        *id = serde_json::from_slice::<Comment>(answer.body()).ok().map(|comment| comment.id);
        Ok(receipt)
    }

    /// A comment by its number; `None` when it is gone, or no longer ours.
    async fn read(&self, id: u64, cx: &SendContext<'_>) -> Result<Option<Comment>> {
        let answer = self.get(self.comments.one(id), cx).await?;
        if matches!(answer.status(), 404 | 410) {
            return Ok(None);
        }
        self.forge.classify(&answer).map_err(|error| answer.explain(error))?;
        let comment: Comment = read_json(&answer)?;
        Ok(comment.marker().is_some().then_some(comment))
    }

    async fn get(&self, url: String, cx: &SendContext<'_>) -> Result<Answer> {
        // A search sends nothing, so its time-out is not ambiguous.
        let looked = AtomicBool::new(false);
        let looking = SendContext::new(cx.key, cx.attempt, cx.deadline, cx.now, &looked);
        let answer = self.exchange.fetch(&self.request("GET", url, Bytes::new()), PAGE, &looking).await;
        answer.map_err(|error| {
            let unambiguous = Error::new(error.kind(), error.message().to_owned());
            match error.retry_advice() {
                runbell_core::Retry::Never => unambiguous,
                runbell_core::Retry::Backoff => unambiguous.retry(),
                runbell_core::Retry::After(wait) => unambiguous.retry_after(wait),
            }
        })
    }

    fn request(&self, method: &str, url: String, body: Bytes) -> HttpRequest {
        let mut request = HttpRequest { method: method.to_owned(), url: Secret::new(url), headers: Vec::new(), body };
        self.forge.sign(&mut request, &self.token);
        request
    }
}

impl Comment {
    fn marker(&self) -> Option<Marker> {
        Marker::begins(self.body.as_deref()?)
    }

    /// Whether it has this text, but for the changes that forges make: line ends, and white space at the end.
    fn says(&self, text: &str) -> bool {
        self.body.as_deref().is_some_and(|body| body.replace("\r\n", "\n").trim_end() == text.trim_end())
    }
}

/// Whether a state at one time is newer than one at another; a first time in the far future does not count.
fn is_newer(it: Timestamp, other: Timestamp, now: Timestamp) -> bool {
    it > other && now.saturating_add(AHEAD).is_ok_and(|latest| it <= latest)
}

/// Whether there may be a page behind this one: by its size, or by its headers (RFC 8288 `Link`; GitLab's `x-next-page`),
/// for a server may give smaller pages than it was asked for.
fn has_next(answer: &Answer, size: usize) -> bool {
    let linked = |links: &str| links.contains("rel=\"next\"") || links.contains("rel=next");
    size >= 100
        || answer.header("link").is_some_and(linked)
        || answer.header("x-next-page").is_some_and(|next| !next.trim().is_empty())
}

fn wanted(create: &HttpRequest) -> Result<Wanted> {
    #[derive(Deserialize)]
    struct Body {
        body: String,
    }
    let invalid = || Error::new(ErrorKind::Internal, "the comment has no marker");
    let Body { body: text } = serde_json::from_slice(&create.body).map_err(|_| invalid())?;
    let Marker { run, at, .. } = Marker::begins(&text).ok_or_else(invalid)?;
    Ok(Wanted { at, run, text, create: create.clone() })
}

fn read_json<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(answer.body())
        .map_err(|_| Error::new(ErrorKind::Rejected, NO_API).with("status", answer.status()))
}
