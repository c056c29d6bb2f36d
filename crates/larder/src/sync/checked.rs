//! Either the usual ones or shuttle's, by where they are made.

use crate::simulation;
use shuttle::sync as theirs;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio_util::task::TaskTracker;

/// Whether shuttle runs this.
fn is_checked() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

const NOT_POISONED: &str = "a panic ends the test";

/// One of two things that can do the same.
pub(crate) enum Either<A, B> {
    Usual(A),
    Checked(B),
}

impl<A: Deref, B: Deref<Target = A::Target>> Deref for Either<A, B> {
    type Target = A::Target;

    fn deref(&self) -> &A::Target {
        match self {
            Self::Usual(one) => one,
            Self::Checked(one) => one,
        }
    }
}

impl<A: DerefMut, B: DerefMut<Target = A::Target>> DerefMut for Either<A, B> {
    fn deref_mut(&mut self) -> &mut A::Target {
        match self {
            Self::Usual(one) => one,
            Self::Checked(one) => one,
        }
    }
}

pub(crate) struct Mutex<T>(Either<parking_lot::Mutex<T>, theirs::Mutex<T>>);

type MutexGuard<'a, T> = Either<parking_lot::MutexGuard<'a, T>, theirs::MutexGuard<'a, T>>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(match is_checked() {
            false => Either::Usual(parking_lot::Mutex::new(value)),
            true => Either::Checked(theirs::Mutex::new(value)),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match &self.0 {
            Either::Usual(lock) => Either::Usual(lock.lock()),
            Either::Checked(lock) => Either::Checked(lock.lock().expect(NOT_POISONED)),
        }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match &self.0 {
            Either::Usual(lock) => lock.try_lock().map(Either::Usual),
            Either::Checked(lock) => lock.try_lock().ok().map(Either::Checked),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

pub(crate) struct RwLock<T>(Either<parking_lot::RwLock<T>, theirs::RwLock<T>>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(match is_checked() {
            false => Either::Usual(parking_lot::RwLock::new(value)),
            true => Either::Checked(theirs::RwLock::new(value)),
        })
    }

    pub(crate) fn read(&self) -> Either<parking_lot::RwLockReadGuard<'_, T>, theirs::RwLockReadGuard<'_, T>> {
        match &self.0 {
            Either::Usual(lock) => Either::Usual(lock.read()),
            Either::Checked(lock) => Either::Checked(lock.read().expect(NOT_POISONED)),
        }
    }

    pub(crate) fn write(
        &self,
    ) -> Either<parking_lot::RwLockWriteGuard<'_, T>, theirs::RwLockWriteGuard<'_, T>> {
        match &self.0 {
            Either::Usual(lock) => Either::Usual(lock.write()),
            Either::Checked(lock) => Either::Checked(lock.write().expect(NOT_POISONED)),
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, $($change:ident),+) => {
        pub(crate) struct $name(Either<std::sync::atomic::$name, theirs::atomic::$name>);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(match is_checked() {
                    false => Either::Usual(std::sync::atomic::$name::new(value)),
                    true => Either::Checked(theirs::atomic::$name::new(value)),
                })
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                match &self.0 {
                    Either::Usual(one) => one.load(order),
                    Either::Checked(one) => one.load(order),
                }
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                match &self.0 {
                    Either::Usual(one) => one.store(value, order),
                    Either::Checked(one) => one.store(value, order),
                }
            }

            $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                match &self.0 {
                    Either::Usual(one) => one.$change(value, order),
                    Either::Checked(one) => one.$change(value, order),
                }
            })+
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    Either::Usual(one) => one.fmt(f),
                    Either::Checked(one) => one.fmt(f),
                }
            }
        }
    };
}

atomic!(AtomicU64, u64, fetch_add, fetch_max, fetch_min);
atomic!(AtomicBool, bool, swap);

/// A task that was begun.
pub(crate) struct Running<T>(Either<tokio::task::JoinHandle<T>, shuttle::future::JoinHandle<T>>);

impl<T> Future for Running<T> {
    type Output = Result<T, Box<dyn std::error::Error + Send + Sync>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Either::Usual(task) => Pin::new(task).poll(cx).map_err(Into::into),
            Either::Checked(task) => {
                Pin::new(task).poll(cx).map_err(|_| "the task was given up".to_owned().into())
            }
        }
    }
}

/// Begins a task, one of those that are waited for when the cache is shut down.
pub(crate) fn spawn<F>(tasks: &TaskTracker, work: F) -> Running<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let work = simulation::task(work);
    Running(match is_checked() {
        false => Either::Usual(tasks.spawn(work)),
        true => Either::Checked(shuttle::future::spawn(tasks.track_future(work))),
    })
}
