//! Pages: a list has the youngest item first, and a token for the next page.
//!
//! A token holds the whole query, so that it is the only parameter of the next request, as MLRun's SDK expects. It is
//! neither a secret nor a permission.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Problem};
use crate::body::Query;

/// The default number of items on a page.
const SIZE: usize = 200;

/// The parameters that a page token keeps. Others are left out: callers put all kinds of texts into queries, also access
/// tokens, and page tokens are not treated as secrets.
const KEYS: &[&str] = &[
    "page-size",
    "name",
    "uid",
    "label",
    "states",
    "state",
    "iter",
    "with-notifications",
    "start_time_from",
    "start_time_to",
    "last_update_time_from",
    "last_update_time_to",
    "notification",
    "kind",
    "status",
];

/// The position of the next page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pagination {
    /// The `page-token` of the next page; null on the last page.
    #[serde(rename = "page-token")]
    page_token: Option<String>,
}

/// The requested page.
pub(crate) struct Page {
    /// The query of the first page.
    pub(crate) query: Query,
    /// The number of items.
    pub(crate) size: usize,
    /// The number of pages to skip, for callers who use page numbers.
    pub(crate) skip: usize,
    /// The last item of the page before.
    pub(crate) before: Option<i64>,
}

impl Page {
    pub(crate) fn of(query: Query, largest: usize) -> Answer<Page> {
        let (query, before) = match query.get("page-token") {
            None => (query, None),
            Some(token) => {
                let (before, query) = read(token)
                    .ok_or_else(|| Problem::bad("page-token: must be the unchanged token of an earlier page"))?;
                (query, Some(before))
            }
        };
        let size = query.number("page-size", 1)?.map_or(SIZE, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let size = size.min(largest);
        let page = query.number("page", 1)?.unwrap_or(1);
        let skip = if before.is_some() { 0 } else { usize::try_from(page - 1).unwrap_or(usize::MAX) };
        if skip.saturating_mul(size) > largest {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "page: is too large; use page-token to go from page to page",
            ));
        }
        Ok(Page { query, size, skip, before })
    }

    /// The next page, after `last`, the id of the page's last item; `None` on the last page.
    pub(crate) fn next(&self, last: Option<i64>) -> Pagination {
        let token = last.map(|last| URL_SAFE_NO_PAD.encode(format!("{last}?{}", self.query.only(KEYS))));
        Pagination { page_token: token }
    }
}

fn read(token: &str) -> Option<(i64, Query)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (before, query) = text.split_once('?')?;
    Some((before.parse().ok()?, Query::parse(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_all_that_the_next_page_needs() {
        let first = Page::of(Query::parse("uid=a&uid=b&page-size=5&page=2&access_token=x"), 1_000).expect("valid");
        assert_eq!((first.size, first.skip, first.before), (5, 1, None));
        let token = first.next(Some(17)).page_token.expect("there is more");
        let second = Page::of(Query::parse(&format!("page-token={token}")), 1_000).expect("valid");
        assert_eq!((second.size, second.skip, second.before), (5, 0, Some(17)));
        assert_eq!(second.query.all("uid"), ["a", "b"]);
        assert!(second.query.all("access_token").is_empty());
        assert!(first.next(None).page_token.is_none());
        for bad in ["page-token=x", "page-size=0", "page-size=x", "page=0", "page=999999"] {
            assert!(Page::of(Query::parse(bad), 1_000).is_err(), "{bad}");
        }
        assert_eq!(Page::of(Query::parse("page-size=99999"), 1_000).expect("cut").size, 1_000);
    }
}
