//! A table of reusable slots whose handles never point at a later tenant.

/// Names one tenancy of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Handle {
    /// Index of the slot.
    pub slot: u32,
    /// Which tenancy of the slot; a freed slot's old handles find nothing.
    pub serial: u32,
}

impl Handle {
    /// Both numbers in one, for whoever can only keep an integer.
    pub const fn as_u64(self) -> u64 {
        (self.slot as u64) << 32 | self.serial as u64
    }

    /// The inverse of [`Handle::as_u64`].
    pub const fn from_u64(number: u64) -> Self {
        Self {
            slot: (number >> 32) as u32,
            serial: number as u32,
        }
    }
}

struct Slot<T> {
    serial: u32,
    tenant: Option<T>,
}

/// Slots in one vector, free ones reused last in, first out.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Lets `tenant` in. The handle is made first, for tenants that carry their own name.
    pub fn insert_with(&mut self, tenant: impl FnOnce(Handle) -> T) -> Handle {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                serial: 0,
                tenant: None,
            });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        let handle = Handle {
            slot,
            serial: place.serial,
        };
        place.tenant = Some(tenant(handle));
        handle
    }

    /// The tenant that `handle` was given for, while it is there.
    pub fn at(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.slot as usize)?;
        slot.tenant
            .as_ref()
            .filter(|_| slot.serial == handle.serial)
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        slot.tenant
            .as_mut()
            .filter(|_| slot.serial == handle.serial)
    }

    /// Ends a tenancy.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        if slot.serial != handle.serial {
            return None;
        }
        let tenant = slot.tenant.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(handle.slot);
        Some(tenant)
    }

    /// All tenants, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            let handle = Handle {
                slot: slot as u32,
                serial: place.serial,
            };
            place.tenant.as_ref().map(|tenant| (handle, tenant))
        })
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, place)| {
                let handle = Handle {
                    slot: slot as u32,
                    serial: place.serial,
                };
                place.tenant.as_mut().map(|tenant| (handle, tenant))
            })
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True without tenants.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_never_finds_a_later_tenant() {
        let mut slots = Slots::default();
        let first = slots.insert_with(|_| "first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert_with(|_| "second");
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.at(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.at(second), Some(&"second"));
        assert_eq!(slots.len(), 1);
        for (handle, tenant) in slots.iter_mut() {
            assert_eq!(handle, second);
            *tenant = "changed";
        }
        assert_eq!(slots.at(second), Some(&"changed"));
        assert_eq!(Handle::from_u64(second.as_u64()), second);
    }
}
