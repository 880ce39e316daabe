//! Places for what lasts: so many at a time over all, and so many for each of those who take them.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, some of which are taken. Cheap to clone: the clones are the same places.
#[derive(Debug)]
pub struct Places<K> {
    in_all: usize,
    of_one: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    in_all: usize,
    by_key: HashMap<K, usize>,
}

/// A place, given back when dropped.
pub struct Place<K: Eq + Hash> {
    taken: Arc<Mutex<Taken<K>>>,
    key: K,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    InAll,
    /// Whoever asks has so many, the most that one may have.
    OfOne(usize),
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self { taken: self.taken.clone(), ..*self }
    }
}

impl<K: Eq + Hash> fmt::Debug for Place<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// `in_all` places, of which each may have `of_one`.
    pub fn new(in_all: usize, of_one: usize) -> Self {
        Self { in_all, of_one, taken: Arc::new(Mutex::new(Taken { in_all: 0, by_key: HashMap::new() })) }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// There is none left, or none for this one.
    pub fn take(&self, key: &K) -> Result<Place<K>, Full> {
        let mut taken = lock(&self.taken);
        if taken.in_all >= self.in_all {
            return Err(Full::InAll);
        }
        if taken.by_key.get(key).is_some_and(|count| *count >= self.of_one) {
            return Err(Full::OfOne(self.of_one));
        }
        *taken.by_key.entry(key.clone()).or_default() += 1;
        taken.in_all += 1;
        Ok(Place { taken: self.taken.clone(), key: key.clone() })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.in_all -= 1;
        if let Some(count) = taken.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

fn lock<T>(taken: &Mutex<T>) -> MutexGuard<'_, T> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_take_every_place() {
        let places = Places::new(10, 3);
        let mut held: Vec<_> = (0..3).map(|_| places.take(&"ada").unwrap()).collect();
        assert_eq!(places.take(&"ada").unwrap_err(), Full::OfOne(3));
        assert!(places.clone().take(&"bob").is_ok());
        held.pop();
        assert!(places.take(&"ada").is_ok());
        drop(held);
        let taken = lock(&places.taken);
        assert!(taken.by_key.is_empty() && taken.in_all == 0);
    }

    #[test]
    fn there_is_a_bound_over_all() {
        let places = Places::new(10, 3);
        let held: Vec<_> = (0..10).map(|n| places.take(&n).unwrap()).collect();
        assert_eq!(places.take(&10).unwrap_err(), Full::InAll);
        drop(held);
        assert!(places.take(&10).is_ok());
    }
}
