//! Lists in pages: Heroku's ranges (<https://devcenter.heroku.com/articles/platform-api-reference#ranges>).

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_RANGE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ids;
use crate::errors::ApiFault;

const NEXT_RANGE: HeaderName = HeaderName::from_static("next-range");

/// The most that one page has.
const MAX: usize = 1000;

/// What a `Range` header asks for. The CLI's older versions send one with every request, so whatever cannot
/// be read asks for the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The attribute that is named; echoed, since the order is each list's own.
    by: String,
    /// The page begins after the element with this id or version.
    after: Option<String>,
    /// At most so many elements.
    pub(super) max: usize,
    /// Whether the last comes first.
    pub(super) descending: bool,
}

impl Page {
    fn parse(raw: &str) -> Self {
        let mut words = raw.split([';', ',']).map(str::trim);
        let range = words.next().unwrap_or_default();
        let (by, span) = range.split_once(' ').unwrap_or((range, ".."));
        let begin = span.split_once("..").map_or("", |(begin, _)| begin.trim());
        let mut page = Self {
            by: if by.is_empty() { "id".to_owned() } else { by.chars().take(40).collect() },
            after: begin.strip_prefix(']').map(str::to_owned),
            max: MAX,
            descending: false,
        };
        for word in words {
            match word.split_once('=') {
                Some(("max", number)) => page.max = number.trim().parse().unwrap_or(MAX).clamp(1, MAX),
                Some(("order", order)) => page.descending = order.trim() == "desc",
                _ => {}
            }
        }
        page
    }

    /// The page of a whole list, `cursor` telling what names an element.
    pub(super) fn of<T: Serialize>(&self, mut all: Vec<T>, cursor: impl Fn(&T) -> String) -> Paged<T> {
        if self.descending {
            all.reverse();
        }
        let from = self.after.as_ref().and_then(|after| all.iter().position(|one| cursor(one) == *after));
        self.cut(all.into_iter().skip(from.map_or(0, |at| at + 1)).collect(), cursor)
    }

    /// The version after which the page begins, of a list whose elements are named by one.
    pub(super) fn after_version(&self) -> Option<u64> {
        self.after.as_ref()?.parse().ok().map(u32::into)
    }

    /// The id after which the page begins, of a list whose elements are named by one.
    pub(super) fn after_id(&self) -> Option<String> {
        ids::internal(self.after.as_ref()?)
    }

    /// How many elements to read for [`Self::cut`].
    pub(super) fn limit(&self) -> u32 {
        u32::try_from(self.max + 1).unwrap_or(u32::MAX)
    }

    /// The page of what was read as it asks for: in its order, after its cursor, and at least one element
    /// more than it has, if there is one.
    pub(super) fn cut<T: Serialize>(&self, mut page: Vec<T>, cursor: impl Fn(&T) -> String) -> Paged<T> {
        let is_last = page.len() <= self.max;
        page.truncate(self.max);
        let ends = page.first().zip(page.last()).map(|(first, last)| (cursor(first), cursor(last)));
        Paged { page, by: self.by.clone(), ends, max: self.max, descending: self.descending, is_last }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        let raw = parts.headers.get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self::parse(raw))
    }
}

/// One page of a list.
pub(super) struct Paged<T> {
    page: Vec<T>,
    by: String,
    ends: Option<(String, String)>,
    max: usize,
    descending: bool,
    is_last: bool,
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let status = if self.is_last { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        let mut response = (status, Json(self.page)).into_response();
        let Some((first, last)) = self.ends else { return response };
        let (by, max) = (self.by, self.max);
        let order = if self.descending { ", order=desc" } else { "" };
        let mut tell = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        };
        tell(CONTENT_RANGE, format!("{by} {first}..{last}; max={max}{order}"));
        if !self.is_last {
            tell(NEXT_RANGE, format!("{by} ]{last}..; max={max}{order}"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_the_cli_sends_is_read() {
        for raw in [
            "version ..; max=15, order=desc",
            "version ..; order=desc,max=15",
            "version ..; max=15; order=desc;",
            "version ..;max=15,order=desc",
        ] {
            let page = Page::parse(raw);
            assert_eq!((page.by.as_str(), page.max, page.descending), ("version", 15, true), "{raw}");
        }
        for raw in ["", "id ..; max=1000;", "id ..", "bytes=0-10", ";;;"] {
            let page = Page::parse(raw);
            assert_eq!((page.max, page.descending, page.after), (MAX, false, None), "{raw}");
        }
        assert_eq!(Page::parse("id ]a1..; max=5").after.as_deref(), Some("a1"));
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<u32> = (0..7).collect();
        let mut next = "id ..; max=3, order=desc".to_owned();
        let mut seen = Vec::new();
        loop {
            let page = Page::parse(&next).of(all.clone(), u32::to_string);
            seen.extend(page.page.clone());
            let response = page.into_response();
            match response.headers().get(NEXT_RANGE) {
                Some(range) => {
                    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
                    next = range.to_str().unwrap().to_owned();
                }
                None => break assert_eq!(response.status(), StatusCode::OK),
            }
        }
        assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
    }
}
