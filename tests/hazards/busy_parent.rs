//! A parent of pools that keeps their supervision events unread.

use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::latch::Latch;

/// Does as it is told and is then busy, its mailbox with all supervision events unread.
pub struct Parent;

pub struct Order {
    pub act: Box<dyn FnOnce() + Send>,
    pub done: Latch,
    pub busy: Latch,
}

#[cfg(feature = "cluster")]
impl ractor::Message for Order {}

#[ractor::actor(message = Order, state = (), arguments = ())]
impl Parent {
    async fn pre_start(&self, _myself: ActorRef<Order>, _args: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _myself: ActorRef<Order>, order: Order, _state: &mut ()) -> Result<(), ActorProcessingErr> {
        (order.act)();
        order.done.open();
        order.busy.wait().await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Order>,
        _event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
