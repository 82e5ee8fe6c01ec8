//! A value that everyone is told of in a fixed order. One tokio watch channel wakes its receivers
//! in a random one, which would make two runs of a seed differ.

use std::cell::RefCell;

use tokio::sync::watch;

/// Keeps the value and a channel for each listener.
pub(crate) struct Told<T> {
    now: RefCell<T>,
    listeners: RefCell<Vec<watch::Sender<T>>>,
}

impl<T: Clone> Told<T> {
    pub(crate) fn new(now: T) -> Self {
        Self { now: RefCell::new(now), listeners: RefCell::default() }
    }

    pub(crate) fn get(&self) -> T {
        self.now.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        let (sender, receiver) = watch::channel(self.get());
        self.listeners.borrow_mut().push(sender);
        receiver
    }

    pub(crate) fn tell(&self, value: &T) {
        self.now.replace(value.clone());
        for listener in self.listeners.borrow().iter() {
            listener.send_replace(value.clone());
        }
    }
}
