//! How often an account may call: Heroku's rule and header
//! (<https://devcenter.heroku.com/articles/platform-api-reference#rate-limits>).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};

const HOUR: Millis = 3_600_000;

/// Calls of each account in the hour that runs. Kept in memory: a restart forgives.
#[derive(Default)]
pub(crate) struct CallLimit(Mutex<Hour>);

#[derive(Default)]
struct Hour {
    number: Millis,
    calls: HashMap<String, u32>,
}

impl CallLimit {
    /// Counts a call, and gives how many are left.
    pub(super) fn count(&self, api: &Api, user_id: &str) -> Answer<u32> {
        let limit = api.settings.public.as_ref().map_or(u32::MAX, |public| public.calls_per_hour);
        self.count_at(user_id, limit, clock::now())
    }

    fn count_at(&self, user_id: &str, limit: u32, now: Millis) -> Answer<u32> {
        let mut hour = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hour.number != now / HOUR {
            *hour = Hour { number: now / HOUR, calls: HashMap::new() };
        }
        let calls = hour.calls.entry(user_id.to_owned()).or_default();
        if *calls >= limit {
            let minutes = (HOUR - now % HOUR) / 60_000 + 1;
            let message = format!(
                "Your account made {limit} calls this hour, which is the limit: try again in {minutes} minutes."
            );
            return Err(ApiFault::too_often("rate_limit", message));
        }
        *calls += 1;
        Ok(limit - *calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own_count_by_the_hour() {
        let limit = CallLimit::default();
        assert_eq!(limit.count_at("ada", 2, 0).unwrap(), 1);
        assert_eq!(limit.count_at("ada", 2, 1).unwrap(), 0);
        assert!(limit.count_at("ada", 2, 2).is_err());
        assert_eq!(limit.count_at("bob", 2, 2).unwrap(), 1);
        assert_eq!(limit.count_at("ada", 2, HOUR).unwrap(), 1);
    }
}
