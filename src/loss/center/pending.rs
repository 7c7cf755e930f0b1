use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;
use burn_std::sync::{AtomicUsize, Mutex, Ordering};

use super::error::CenterLossError;
use super::rule::UpdateTiming;
#[cfg(feature = "std")]
use super::workers::Meeting;
use crate::centers::Pulls;

/// The updates that wait for `apply_pending`.
///
/// A leaf module without parameters, so that `valid()` can detach from the list: a loss in validation
/// mode has an empty list of its own.
///
/// Clones of a shared list note into the same list. Burn's multi-device training clones the model once
/// per shard, in the order of the shards, and drops the clones. Each clone takes the next ticket, so
/// that sorting by ticket gives the order of the shards, whichever worker was first.
#[derive(Debug)]
pub(super) struct Pending {
    timing: UpdateTiming,
    ticket: usize,
    list: Arc<List>,
    /// Where workers meet that each have a list of their own; all clones share it.
    #[cfg(feature = "std")]
    meeting: Option<Arc<Meeting>>,
}

#[derive(Debug, Default)]
struct List {
    tickets: AtomicUsize,
    updates: Mutex<Vec<(usize, Pulls)>>,
}

/// More updates than any accumulation over any number of devices makes between two steps of the
/// optimizer.
const MAX_PENDING: usize = 4096;

impl Pending {
    /// An empty list.
    pub fn new(timing: UpdateTiming) -> Self {
        Self {
            timing,
            ticket: 0,
            list: Arc::default(),
            #[cfg(feature = "std")]
            meeting: match timing {
                UpdateTiming::OnStepOfWorkers { workers } => Some(Arc::new(Meeting::new(workers))),
                _ => None,
            },
        }
    }

    /// An empty list, shared by clones as this one is.
    pub fn emptied(&self) -> Self {
        Self::new(self.timing)
    }

    /// Adds an update. The limit keeps a training that never applies its updates from filling the memory
    /// while its centers stand still.
    pub fn push(&self, update: Pulls) -> Result<(), CenterLossError> {
        #[cfg(feature = "std")]
        if let Some(meeting) = &self.meeting {
            meeting.join()?;
        }
        let mut updates = self.list.updates.lock();
        let count = updates.len();
        if count >= MAX_PENDING {
            return Err(CenterLossError::PendingNotApplied { count });
        }
        updates.push((self.ticket, update));
        Ok(())
    }

    /// Takes all updates and merges them. Returns the result, if there is one, and how many they were.
    ///
    /// With workers, these are the updates of all of them, and this waits until each has called it.
    pub fn take_merged(
        &self,
        #[cfg_attr(not(feature = "std"), expect(unused_variables))] device: &Device,
    ) -> Result<(Option<Pulls>, usize), CenterLossError> {
        let updates = self.take();
        #[cfg(feature = "std")]
        if let Some(meeting) = &self.meeting {
            let outcome = meeting.meet(updates.clone(), device).inspect_err(|_| {
                let noted = updates.into_iter().map(|update| (self.ticket, update));
                self.list.updates.lock().extend(noted);
            });
            return Ok(outcome??);
        }
        let count = updates.len();
        Ok((Pulls::merge(updates)?, count))
    }

    /// Takes all updates, in the order of the clones, and within a clone in the order they were noted.
    fn take(&self) -> Vec<Pulls> {
        let mut updates = core::mem::take(&mut *self.list.updates.lock());
        updates.sort_by_key(|(ticket, _)| *ticket);
        updates.into_iter().map(|(_, update)| update).collect()
    }
}

impl Clone for Pending {
    fn clone(&self) -> Self {
        let list = match self.timing {
            UpdateTiming::OnStepShared => self.list.clone(),
            _ => Arc::new(List {
                tickets: AtomicUsize::new(0),
                updates: Mutex::new(self.list.updates.lock().clone()),
            }),
        };
        Self {
            timing: self.timing,
            ticket: list.tickets.fetch_add(1, Ordering::Relaxed) + 1,
            list,
            #[cfg(feature = "std")]
            meeting: self.meeting.clone(),
        }
    }
}

impl Module for Pending {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        self
    }

    fn to_device(self, _device: &Device) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.emptied()
    }

    fn train(self) -> Self {
        self
    }

    fn materialize(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Pending {
    fn content(&self, content: Content) -> Option<Content> {
        content.optional()
    }
}

impl ModuleDisplay for Pending {}
