//! A value that one thread tells and any thread reads, where the one that tells never waits.

use std::sync::{
    Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicUsize, Ordering},
};

/// The newest of the values that were told.
///
/// Readers take turns, and look only at the newest place. So at most one of the two others is held, by a reader that began
/// before the last value was told, and the next value has a place at once.
#[derive(Debug, Default)]
pub(super) struct Latest<T> {
    places: [Mutex<T>; 3],
    newest: AtomicUsize,
    readers: Mutex<()>,
}

impl<T: Copy> Latest<T> {
    /// Tells a value, without waiting for anybody. For one thread at a time; returns whether there was a place, which there
    /// always is then.
    pub(super) fn set(&self, value: T) -> bool {
        let newest = self.newest.load(Ordering::Acquire);
        for step in 1..self.places.len() {
            let place = (newest + step) % self.places.len();
            let mut held = match self.places[place].try_lock() {
                Ok(held) => held,
                Err(TryLockError::Poisoned(held)) => held.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            *held = value;
            drop(held);
            self.newest.store(place, Ordering::Release);
            return true;
        }
        false
    }

    /// The newest value. Waits for other readers, who only copy.
    pub(super) fn get(&self) -> T {
        let _turn = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *self.newest()
    }

    fn newest(&self) -> MutexGuard<'_, T> {
        self.places[self.newest.load(Ordering::Acquire)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn a_reader_that_stands_still_stops_nobody_from_telling() {
        let latest = Latest::default();
        for place in 0..3 {
            assert!(latest.set((place, place)));
            let _turn = latest.readers.lock().expect("nobody panicked");
            let held = latest.newest();
            for value in 10..20 {
                assert!(latest.set((value, value)), "one reader is in the way");
            }
            assert_eq!(*held, (place, place), "what is being read does not change");
        }
        assert_eq!(latest.get(), (19, 19));
    }

    #[test]
    fn what_is_read_is_whole_and_never_older_than_before() {
        let latest = Arc::new(Latest::<[u64; 32]>::default());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let latest = Arc::clone(&latest);
                thread::spawn(move || {
                    let mut before = 0;
                    while before < 20_000 {
                        let value = latest.get();
                        assert!(value.iter().all(|part| *part == value[0]) && value[0] >= before);
                        before = value[0];
                        thread::yield_now();
                    }
                })
            })
            .collect();
        for value in 1..=20_000 {
            assert!(latest.set([value; 32]));
        }
        readers.into_iter().for_each(|reader| reader.join().expect("what it read was whole"));
    }
}
