//! How many services run at a time, over all and for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruko_core::UserName;

/// Services at a time. Each may hold a container; the machine's slots are the bound that is met first.
const IN_ALL: usize = 256;

/// Services of one user at a time.
const PER_USER: usize = 16;

/// The services that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_user: HashMap<UserName, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    user: UserName,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The server has as many as it takes.
    InAll,
    /// This user has so many.
    User(usize),
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a user.
    pub(crate) fn take(&self, user: &UserName) -> Result<Place, Full> {
        let mut taken = self.taken();
        if taken.in_all >= IN_ALL {
            return Err(Full::InAll);
        }
        let of_user = taken.by_user.entry(user.clone()).or_default();
        if *of_user >= PER_USER {
            return Err(Full::User(PER_USER));
        }
        *of_user += 1;
        taken.in_all += 1;
        Ok(Place { places: self.clone(), user: user.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.in_all -= 1;
        if let Some(of_user) = taken.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_every_place() {
        let places = Places::default();
        let user = |name: &str| name.parse::<UserName>().unwrap();
        let mut held: Vec<Place> = (0..PER_USER).map(|_| places.take(&user("ada")).unwrap()).collect();
        assert_eq!(places.take(&user("ada")).unwrap_err(), Full::User(PER_USER));
        assert!(places.take(&user("bob")).is_ok());
        held.pop();
        assert!(places.take(&user("ada")).is_ok());
        drop(held);
        assert!(places.taken().by_user.is_empty());
        assert_eq!(places.taken().in_all, 0);
    }

    #[test]
    fn there_is_a_bound_over_all() {
        let places = Places::default();
        let user = |n: usize| format!("user-{n}").parse::<UserName>().unwrap();
        let held: Vec<Place> = (0..IN_ALL).map(|n| places.take(&user(n)).unwrap()).collect();
        assert_eq!(places.take(&user(IN_ALL)).unwrap_err(), Full::InAll);
        drop(held);
    }
}
