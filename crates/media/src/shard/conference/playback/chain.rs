//! Plays in their order, linked through themselves: taking one in or out moves nothing and needs no memory.

use super::playing::Playing;

/// Plays, the oldest first.
#[derive(Default)]
pub(super) struct Chain(Option<Box<Playing>>);

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn first(&self) -> Option<&Playing> {
        self.0.as_deref()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Playing> {
        self.0.as_deref_mut()
    }

    pub(super) fn take_first(&mut self) -> Option<Box<Playing>> {
        let mut first = self.0.take()?;
        self.0 = first.next.take();
        Some(first)
    }

    pub(super) fn push(&mut self, playing: Box<Playing>) {
        let mut place = &mut self.0;
        while let Some(before) = place {
            place = &mut before.next;
        }
        *place = Some(playing);
    }

    /// Calls for each in turn, until it says no. Returns whether it never did.
    pub(super) fn all(&mut self, mut act: impl FnMut(&mut Playing) -> bool) -> bool {
        let mut next = self.first_mut();
        while let Some(playing) = next {
            if !act(playing) {
                return false;
            }
            next = playing.next.as_deref_mut();
        }
        true
    }

    /// Moves those to the end of another chain for which `is_to_go` holds; it is told how many stand before each.
    pub(super) fn move_to(
        &mut self,
        other: &mut Chain,
        mut is_to_go: impl FnMut(usize, &mut Playing) -> bool,
    ) {
        let mut place = &mut self.0;
        let mut number = 0;
        while let Some(mut playing) = place.take() {
            let rest = playing.next.take();
            if is_to_go(number, &mut playing) {
                *place = rest;
                other.push(playing);
            } else {
                let kept = place.insert(playing);
                kept.next = rest;
                place = &mut kept.next;
            }
            number += 1;
        }
    }
}
