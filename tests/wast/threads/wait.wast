;; Waiting and waking between threads, each with a store of its own.

(module $Mem (memory (export "shared") 1 4 shared))

;; One waits, the other stores and notifies until somebody was woken, or the waiter saw the value.
(thread $T1 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run") (result i32)
      (i32.atomic.store (i32.const 4) (i32.const 1))
      (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  (assert_return (invoke "run") (either (i32.const 0) (i32.const 1))))
(thread $T2 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run")
      (loop $until (br_if $until (i32.eqz (i32.atomic.load (i32.const 4)))))
      (i32.atomic.store (i32.const 0) (i32.const 42))
      (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))))
  (assert_return (invoke "run")))
(wait $T1)
(wait $T2)

;; 64 bits; the waiter must be woken, since the value never changes.
(thread $T3 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run") (result i32) (memory.atomic.wait64 (i32.const 8) (i64.const 0) (i64.const -1))))
  (assert_return (invoke "run") (i32.const 0)))
(thread $T4 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run") (result i32) (local $woken i32)
      (loop $until (br_if $until (i32.eqz (local.tee $woken (memory.atomic.notify (i32.const 8) (i32.const 1))))))
      (local.get $woken)))
  (assert_return (invoke "run") (i32.const 1)))
(wait $T3)
(wait $T4)

;; Growth is seen by others: size, and accesses of every kind behind the old end.
(thread $T5 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run") (result i32)
      (drop (i32.load (i32.const 65532)))
      (i32.atomic.store (i32.const 16) (i32.const 1))
      (loop $until (br_if $until (i32.lt_u (memory.size) (i32.const 3))))
      (i32.store (i32.const 131072) (i32.const 5))
      (i32.add (i32.load8_u (i32.const 131072)) (i32.atomic.load (i32.const 131072))))
    (func (export "outside") (drop (i32.load (i32.const 196608)))))
  (assert_return (invoke "run") (i32.const 10))
  (assert_trap (invoke "outside") "out of bounds memory access"))
(thread $T6 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 1 4 shared)
    (func (export "run") (result i32)
      (loop $until (br_if $until (i32.eqz (i32.atomic.load (i32.const 16)))))
      (memory.grow (i32.const 2)))
    (func (export "more") (result i32) (memory.grow (i32.const 2))))
  (assert_return (invoke "run") (i32.const 1))
  (assert_return (invoke "more") (i32.const -1)))
(wait $T5)
(wait $T6)
