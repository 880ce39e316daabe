//! How often somebody may fail to prove who they are. Counts are kept in memory and bounded: a restart
//! forgives.
//!
//! Passwords are guessed from one place against one account, from one place against many, or from many
//! against one; each has a bound. The last one must not give strangers a way to lock an account: it does
//! not hold for an address from which the account has logged in before, and it ends by itself. An attempt
//! counts when it begins, so that many at the same time are no way around, and is taken back when it was
//! right. What a login takes back are the failures of that account from that address alone: whoever has an
//! account of their own cannot wipe out what they did to others.
//!
//! The name counts as it was typed: that an account is there must not show.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ruko_http::network;

use crate::clock::Millis;
use crate::errors::ApiFault;

const MINUTE: Millis = 60_000;

/// For passwords: at ten in fifteen minutes a thousand a day are tried, which no password of the allowed
/// length that is not a famous one falls to; and whoever forgot theirs has not to wait for long.
const PASSWORD_WINDOW: Millis = 15 * MINUTE;

/// Wrong passwords of one account from one address.
const PER_ACCOUNT_AND_ADDRESS: u32 = 10;

/// Of all accounts from one address: an office may share one.
const PER_ADDRESS: u32 = 50;

/// Of one account from all addresses that it never logged in from.
const PER_ACCOUNT: u32 = 100;

/// For codes of the second factor. Three of a million are right at any time: at ten an hour a guesser gets
/// in once in four years. Only who knows the password comes this far, so strangers lock nobody out.
const CODE_WINDOW: Millis = 60 * MINUTE;

/// Wrong codes of one account, from wherever.
const CODES: u32 = 10;

/// For tokens. They cannot be guessed: this is for those who try and for what asks again and again with a
/// dead one. A right token passes all the same, since a neighbour behind the same address did nothing.
const TOKEN_WINDOW: Millis = 5 * MINUTE;

/// Wrong tokens from one address.
const TOKENS: u32 = 100;

/// Logins by browser that one address may begin in [`PASSWORD_WINDOW`].
const BROWSER_LOGINS: u32 = 30;

/// Entries of each count: some hundred bytes each.
const MAX_ENTRIES: usize = 20_000;

/// The longest name that is kept, in bytes: the longest e-mail address. Longer ones are no account's and
/// share one entry.
const MAX_NAME: usize = 254;

/// How long to wait, until another attempt is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(Millis);

impl From<Wait> for ApiFault {
    fn from(Wait(left): Wait) -> Self {
        let minutes = (left + MINUTE - 1) / MINUTE;
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        Self::too_often("rate_limit", format!("Too many failed attempts: try again in {minutes} {unit}."))
    }
}

/// A whole network of IPv6 is one place: whoever has one address of it has all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place(IpAddr);

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        Self(network(address))
    }
}

/// Who tries to log in, and from where.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Visitor {
    name: String,
    place: Place,
}

impl Visitor {
    fn new(name: &str, address: IpAddr) -> Self {
        let name = if name.len() > MAX_NAME { String::new() } else { name.trim().to_lowercase() };
        Self { name, place: address.into() }
    }
}

/// So many in a window that begins with the first.
struct Counts<K> {
    window: Millis,
    limit: u32,
    /// The most entries.
    room: usize,
    counts: HashMap<K, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    since: Millis,
    number: u32,
}

impl<K: Clone + Eq + Hash> Counts<K> {
    fn new(window: Millis, limit: u32) -> Self {
        Self { window, limit, room: MAX_ENTRIES, counts: HashMap::new() }
    }

    fn current(&self, key: &K, now: Millis) -> Option<Count> {
        // A clock that was set back must not keep anybody out.
        let runs = |count: &Count| (0..self.window).contains(&(now - count.since));
        self.counts.get(key).copied().filter(runs)
    }

    /// How long to wait, where the limit is reached.
    fn wait(&self, key: &K, now: Millis) -> Result<(), Wait> {
        match self.current(key, now) {
            Some(count) if count.number >= self.limit => Err(Wait(count.since + self.window - now)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, key: &K, now: Millis) {
        let before = self.current(key, now).unwrap_or(Count { since: now, number: 0 });
        if !self.counts.contains_key(key) {
            self.make_room(now);
        }
        let number = before.number.saturating_add(1);
        self.counts.insert(key.clone(), Count { since: before.since, number });
    }

    fn take_back(&mut self, key: &K, number: u32) {
        if let Some(count) = self.counts.get_mut(key) {
            count.number = count.number.saturating_sub(number);
        }
    }

    /// Takes the whole count away, and gives it.
    fn forgive(&mut self, key: &K, now: Millis) -> u32 {
        let number = self.current(key, now).map_or(0, |count| count.number);
        self.counts.remove(key);
        number
    }

    /// What is over goes first, then what is oldest.
    fn make_room(&mut self, now: Millis) {
        if self.counts.len() < self.room {
            return;
        }
        let window = self.window;
        self.counts.retain(|_, count| (0..window).contains(&(now - count.since)));
        if self.counts.len() >= self.room {
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.since).map(|(key, _)| key.clone());
            oldest.map(|key| self.counts.remove(&key));
        }
    }
}

/// Failed logins by password.
struct Passwords {
    visitors: Counts<Visitor>,
    places: Counts<Place>,
    names: Counts<String>,
    /// From where an account has logged in, for a while.
    known: Counts<Visitor>,
}

/// For how long a place is known after a login.
const KNOWN: Millis = 30 * 24 * 60 * MINUTE;

impl Default for Passwords {
    fn default() -> Self {
        Self {
            visitors: Counts::new(PASSWORD_WINDOW, PER_ACCOUNT_AND_ADDRESS),
            places: Counts::new(PASSWORD_WINDOW, PER_ADDRESS),
            names: Counts::new(PASSWORD_WINDOW, PER_ACCOUNT),
            known: Counts::new(KNOWN, u32::MAX),
        }
    }
}

impl Passwords {
    fn begin(&mut self, visitor: &Visitor, now: Millis) -> Result<(), Wait> {
        self.visitors.wait(visitor, now)?;
        self.places.wait(&visitor.place, now)?;
        if self.known.current(visitor, now).is_none() {
            self.names.wait(&visitor.name, now)?;
        }
        self.visitors.add(visitor, now);
        self.places.add(&visitor.place, now);
        self.names.add(&visitor.name, now);
        Ok(())
    }

    fn succeeded(&mut self, visitor: &Visitor, now: Millis) {
        let number = self.visitors.forgive(visitor, now);
        self.places.take_back(&visitor.place, number);
        self.names.take_back(&visitor.name, number);
        self.known.forgive(visitor, now);
        self.known.add(visitor, now);
    }
}

/// All counts of failures.
pub(crate) struct Throttles(Mutex<All>);

struct All {
    passwords: Passwords,
    codes: Counts<String>,
    tokens: Counts<Place>,
    browser_logins: Counts<Place>,
}

impl Default for Throttles {
    fn default() -> Self {
        Self(Mutex::new(All {
            passwords: Passwords::default(),
            codes: Counts::new(CODE_WINDOW, CODES),
            tokens: Counts::new(TOKEN_WINDOW, TOKENS),
            browser_logins: Counts::new(PASSWORD_WINDOW, BROWSER_LOGINS),
        }))
    }
}

impl Throttles {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody will try a password. It counts as wrong until it was [right](Self::right_password).
    pub(crate) fn try_password(&self, name: &str, address: IpAddr, now: Millis) -> Result<(), Wait> {
        self.lock().passwords.begin(&Visitor::new(name, address), now)
    }

    /// The password was right: what was wrong before it is forgiven.
    pub(crate) fn right_password(&self, name: &str, address: IpAddr, now: Millis) {
        self.lock().passwords.succeeded(&Visitor::new(name, address), now);
    }

    /// Somebody who knows the password will try a code. It counts as wrong until it was
    /// [right](Self::right_code).
    pub(crate) fn try_code(&self, user_id: &str, now: Millis) -> Result<(), Wait> {
        let (codes, user) = (&mut self.lock().codes, user_id.to_owned());
        codes.wait(&user, now)?;
        codes.add(&user, now);
        Ok(())
    }

    /// The code was right.
    pub(crate) fn right_code(&self, user_id: &str, now: Millis) {
        self.lock().codes.forgive(&user_id.to_owned(), now);
    }

    /// A token was wrong: whether its sender should wait before the next.
    pub(crate) fn wrong_token(&self, address: IpAddr, now: Millis) -> Result<(), Wait> {
        let (tokens, place) = (&mut self.lock().tokens, address.into());
        tokens.wait(&place, now)?;
        tokens.add(&place, now);
        Ok(())
    }

    /// Somebody wants to begin a login by browser.
    pub(crate) fn begin_browser_login(&self, address: IpAddr, now: Millis) -> Result<(), Wait> {
        let (logins, place) = (&mut self.lock().browser_logins, address.into());
        logins.wait(&place, now)?;
        logins.add(&place, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// How many attempts are let through at this moment.
    fn let_through(throttles: &Throttles, name: &str, address: IpAddr, now: Millis) -> u32 {
        let refused = (0..1000).find(|_| throttles.try_password(name, address, now).is_err());
        refused.unwrap_or(1000)
    }

    #[test]
    fn an_account_is_throttled_from_one_address_until_the_window_is_over() {
        let throttles = Throttles::default();
        assert_eq!(let_through(&throttles, "ada", from(1), 0), PER_ACCOUNT_AND_ADDRESS);
        assert_eq!(throttles.try_password(" ADA ", from(1), MINUTE), Err(Wait(14 * MINUTE)));
        assert_eq!(throttles.try_password("ada", from(2), MINUTE), Ok(()));
        assert_eq!(throttles.try_password("bob", from(1), MINUTE), Ok(()));
        assert_eq!(throttles.try_password("ada", from(1), PASSWORD_WINDOW), Ok(()));
    }

    #[test]
    fn an_address_is_throttled_over_all_accounts() {
        let throttles = Throttles::default();
        let all: u32 = (0..100).map(|n| let_through(&throttles, &format!("user{n}"), from(1), 0)).sum();
        assert_eq!(all, PER_ADDRESS);
        assert_eq!(throttles.try_password("ada", from(2), 0), Ok(()));
    }

    #[test]
    fn strangers_do_not_lock_an_account_for_whom_it_knows() {
        let throttles = Throttles::default();
        throttles.try_password("ada", from(200), 0).unwrap();
        throttles.right_password("ada", from(200), 0);
        let all: u32 = (0..100).map(|n| let_through(&throttles, "ada", from(n), 0)).sum();
        assert_eq!(all, PER_ACCOUNT);
        assert_eq!(throttles.try_password("ada", from(201), 0), Err(Wait(PASSWORD_WINDOW)));
        assert_eq!(throttles.try_password("ada", from(200), 0), Ok(()));
        assert_eq!(throttles.try_password("ada", from(201), PASSWORD_WINDOW), Ok(()));
    }

    #[test]
    fn a_login_forgives_its_own_failures_and_no_others() {
        let throttles = Throttles::default();
        assert_eq!(let_through(&throttles, "victim", from(1), 0), PER_ACCOUNT_AND_ADDRESS);
        for _ in 0..PER_ACCOUNT_AND_ADDRESS {
            throttles.try_password("eve", from(1), 0).unwrap();
            throttles.right_password("eve", from(1), 0);
        }
        assert!(throttles.try_password("victim", from(1), 0).is_err());
        let rest: u32 = (0..100).map(|n| let_through(&throttles, &format!("user{n}"), from(1), 0)).sum();
        assert_eq!(rest, PER_ADDRESS - PER_ACCOUNT_AND_ADDRESS);
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_and_a_mapped_address_is_itself() {
        let place = |raw: &str| Place::from(raw.parse::<IpAddr>().unwrap());
        assert!(place("2001:db8::1") == place("2001:db8::ffff:1"));
        assert!(place("2001:db8::1") != place("2001:db8:0:1::1"));
        assert!(place("::ffff:192.0.2.1") == place("192.0.2.1"));
    }

    #[test]
    fn codes_are_counted_by_account_and_tokens_by_address() {
        let throttles = Throttles::default();
        for _ in 0..CODES {
            throttles.try_code("ada", 0).unwrap();
        }
        assert_eq!(throttles.try_code("ada", 0), Err(Wait(CODE_WINDOW)));
        assert_eq!(throttles.try_code("bob", 0), Ok(()));
        throttles.right_code("ada", 0);
        assert_eq!(throttles.try_code("ada", 0), Ok(()));
        for _ in 0..TOKENS {
            throttles.wrong_token(from(1), 0).unwrap();
        }
        assert_eq!(throttles.wrong_token(from(1), 1), Err(Wait(TOKEN_WINDOW - 1)));
        assert_eq!(throttles.wrong_token(from(2), 1), Ok(()));
    }

    #[test]
    fn counts_are_bounded_and_what_is_over_goes_first() {
        let mut counts = Counts { room: 50, ..Counts::new(10, 1) };
        counts.add(&usize::MAX, 100);
        for n in 0..100 {
            counts.add(&n, 105);
        }
        assert_eq!(counts.counts.len(), 50);
        counts.add(&usize::MAX, 200);
        assert_eq!(counts.counts.len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_out() {
        let throttles = Throttles::default();
        assert_eq!(let_through(&throttles, "ada", from(1), 1_000_000), PER_ACCOUNT_AND_ADDRESS);
        assert_eq!(throttles.try_password("ada", from(1), 0), Ok(()));
    }
}
