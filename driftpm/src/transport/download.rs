//! One download: what is there already is not fetched again.

use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::{GetRange, GetResult, ObjectMeta};

use super::client::Client;
use super::error::{ErrorKind, TransportError};
use super::pace::Pace;
use super::part::{Origin, Part};
use super::settings::Settings;
use super::{Downloaded, Progress, Request};

/// How often a download that somebody else has begun is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// After so many bytes, an interruption is not held against the server.
const WORTH_IT: u64 = 1 << 16;

/// Downloads, and tries again where that may help; each time from where it stopped.
pub(super) async fn download(
    client: &Client,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Downloaded, TransportError> {
    let local = |error| TransportError::local(&request.from, "write the file", &error);
    let mut part = loop {
        // Another process may be at it, or another request of this one, which needs this thread.
        match Part::open(&request.to).map_err(local)? {
            Some(part) => break part,
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    };
    let mut resumed = None;
    let mut told = 0;
    let mut tries = 0;
    loop {
        let before = part.length();
        let outcome = go_on(client, request, &mut part, &mut resumed, progress, &mut told).await;
        match outcome {
            Ok(()) => break,
            // As long as much comes, it is worth going on; if not, only so often.
            Err(error) if error.may_pass() && tries < client.settings().retries => {
                let came = part.length().saturating_sub(before);
                tries = if came >= WORTH_IT { 0 } else { tries + 1 };
            }
            Err(error) => return Err(error),
        }
    }
    let size = part.length();
    part.finish().map_err(local)?;
    Ok(Downloaded { size, resumed: resumed.unwrap_or(0) })
}

/// Makes one request for what is missing and writes what comes.
async fn go_on(
    client: &Client,
    request: &Request,
    part: &mut Part,
    resumed: &mut Option<u64>,
    progress: &dyn Progress,
    told: &mut u64,
) -> Result<(), TransportError> {
    let from = &request.from;
    let local = |error| TransportError::local(from, "write the file", &error);
    let url = from.to_string();
    let known = part.origin().filter(|origin| origin.url == url);
    let mut found = None;
    if let Some(origin) = &known
        && part.length() < origin.size
    {
        let range = GetRange::Bounded(part.length()..origin.size);
        // A server that cannot give a range, or has another file now, is asked for the whole; one
        // that hangs up is not, since what is there would be thrown away.
        found = match client.get(from, Some(range)).await {
            Err(error) if error.broke_off => return Err(error),
            rest => rest.ok().filter(|rest| origin_of(&url, &rest.meta).as_ref() == Some(origin)),
        };
    }
    let whole = known.is_some_and(|origin| part.length() == origin.size);
    match (&found, whole) {
        (Some(_), _) | (None, true) => {
            resumed.get_or_insert(part.length());
        }
        (None, false) => {
            let all = client.get(from, None).await?;
            *resumed = Some(0);
            check_size(request, all.meta.size)?;
            part.restart(origin_of(&url, &all.meta).as_ref()).map_err(local)?;
            found = Some(all);
        }
    }
    let tell = |length: u64, told: &mut u64| {
        progress.advance(length.saturating_sub(*told));
        *told = length.max(*told);
    };
    tell(part.length(), told);
    if let Some(found) = found {
        receive(client.settings(), request, found, part, |length| tell(length, told)).await?;
    }
    check_size(request, part.length())
}

async fn receive(
    settings: &Settings,
    request: &Request,
    found: GetResult,
    part: &mut Part,
    mut tell: impl FnMut(u64),
) -> Result<(), TransportError> {
    let from = &request.from;
    let (end, size) = (found.range.end, found.meta.size);
    check_size(request, size)?;
    let mut stream = found.into_stream();
    let mut pace = Pace::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| TransportError::of_store(from, &error))?;
        pace.note(piece.len(), from, settings)?;
        let length = part.length().saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if length > end {
            return Err(TransportError::too_large(from, None, end));
        }
        part.write(&piece)
            .map_err(|error| TransportError::local(from, "write the file", &error))?;
        tell(part.length());
    }
    if part.length() != size {
        let message = format!("{size} bytes were announced, {} came", part.length());
        return Err(TransportError::new(ErrorKind::Network, from, message));
    }
    Ok(())
}

fn check_size(request: &Request, found: u64) -> Result<(), TransportError> {
    if found > request.limit {
        return Err(TransportError::too_large(&request.from, Some(found), request.limit));
    }
    match request.size {
        Some(size) if size != found => {
            let message = format!("it has {found} bytes, it must have {size}");
            Err(TransportError::new(ErrorKind::WrongSize, &request.from, message))
        }
        _ => Ok(()),
    }
}

/// What the server says the file is; nothing that could be the same for another file.
fn origin_of(url: &str, meta: &ObjectMeta) -> Option<Origin> {
    let tag = meta.e_tag.as_deref().filter(|tag| !tag.is_empty() && !tag.starts_with("W/"));
    Some(Origin { url: url.to_owned(), validator: tag?.to_owned(), size: meta.size })
}
