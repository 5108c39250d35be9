//! What a backend that wraps another has of it, for wrappers in tests. That one can be written by hand, with the public API alone, is what `compile` shows.

/// In an `impl Backend` for a wrapper: these methods are those of the field that has the other.
macro_rules! forwards {
    ($inner:tt: $($method:ident),+) => { $( $crate::forwards::forwards!(@$method $inner); )+ };
    (@start $inner:tt) => {
        fn start(
            &self,
            cx: millpond::WorkerContext<Self::Job>,
            supervisor: &ractor::ActorCell,
        ) -> Result<millpond::Started, millpond::StartError> {
            self.$inner.start(cx, supervisor)
        }
    };
    (@capabilities $inner:tt) => {
        fn capabilities(&self) -> millpond::Capabilities {
            self.$inner.capabilities()
        }
    };
    (@prepare $inner:tt) => {
        fn prepare(&mut self, pool: &str) -> Result<(), millpond::BuildError> {
            self.$inner.prepare(pool)
        }
    };
    (@host_gone $inner:tt) => {
        fn host_gone(&self) -> Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
            self.$inner.host_gone()
        }
    };
    (@would_block $inner:tt) => {
        fn would_block(&self) -> bool {
            self.$inner.would_block()
        }
    };
}
pub(crate) use forwards;

/// The wrapper hosts whatever the other does.
macro_rules! hosts_the_same {
    ($wrapper:ident) => {
        impl<J, B: millpond::Hosts<J>> millpond::Hosts<J> for $wrapper<B> {
            type Output = B::Output;
            type Payload = B::Payload;

            fn wrap(job: J) -> B::Payload {
                B::wrap(job)
            }

            fn unwrap(payload: B::Payload) -> J {
                B::unwrap(payload)
            }

            fn erase(cell: millpond::Share<millpond::JobCell<B::Payload, B::Output>>) -> millpond::Share<B::Job> {
                B::erase(cell)
            }
        }
    };
}
pub(crate) use hosts_the_same;
