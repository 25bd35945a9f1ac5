;; `delegate`: to a `try` around, to blocks, to handlers, to the function itself, in chains; and tail calls in handlers.

(module
  (tag $a (param i32)) (tag $b (param i32))
  (func $throw_a (param i32) (throw $a (local.get 0)))
  (func $throw_b (param i32) (throw $b (local.get 0)))
  (func $pass (param i32) (result i32) (local.get 0))

  (func (export "to_outer") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      delegate $t
    catch $a
      (i32.add (i32.const 1))
    end)
  (func (export "to_outer_here") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        (throw $a (local.get 0))
      delegate $t
    catch $a
      (i32.add (i32.const 2))
    end)
  (func (export "nothing_thrown") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        (call $pass (local.get 0))
      delegate $t
    catch_all
      (i32.const -1)
    end)
  ;; Past a handler that would catch it.
  (func (export "past") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        try (result i32)
          (call $throw_a (local.get 0))
          (i32.const 0)
        delegate $t
      catch_all
        (i32.const -1)
      end
    catch $a
      (i32.add (i32.const 3))
    end)
  (func (export "past_here") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        try (result i32)
          (throw $a (local.get 0))
        delegate $t
      catch_all
        (i32.const -1)
      end
    catch $a
      (i32.add (i32.const 4))
    end)
  ;; What the target does not catch goes on outwards from there.
  (func (export "uncaught_there") (param i32) (result i32)
    try (result i32)
      try $t (result i32)
        try (result i32)
          try (result i32)
            (call $throw_b (local.get 0))
            (i32.const 0)
          delegate $t
        catch_all
          (i32.const -1)
        end
      catch $a
        (i32.const -2)
        (i32.mul)
      end
    catch $b
      (i32.add (i32.const 5))
    end)
  (func $to_function (export "to_function") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      delegate 1
    catch_all
      (i32.const -1)
    end)
  (func $to_function_here (export "to_function_here") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (throw $a (local.get 0))
      delegate 1
    catch_all
      (i32.const -1)
    end)
  (func (export "caught_by_caller") (param i32) (result i32)
    try (result i32)
      (call $to_function (local.get 0))
    catch $a
      try (param i32) (result i32)
        (call $to_function_here)
      catch $a
        (i32.add (i32.const 6))
      end
    end)
  ;; To a block: what is around it catches.
  (func (export "to_block") (param i32) (result i32)
    try (result i32)
      (block $l (result i32)
        try (result i32)
          try (result i32)
            (call $throw_a (local.get 0))
            (i32.const 0)
          delegate $l
        catch_all
          (i32.const -1)
        end)
    catch $a
      (i32.add (i32.const 7))
    end)
  (func (export "to_loop_in_if") (param i32) (result i32)
    try (result i32)
      (local.get 0)
      (if (result i32)
        (then
          (loop $l (result i32)
            try (result i32)
              try (result i32)
                (throw $a (local.get 0))
              delegate $l
            catch_all
              (i32.const -1)
            end))
        (else
          (i32.const 0)))
    catch $a
      (i32.add (i32.const 8))
    end)
  ;; From a handler to its own `try`: that is no longer active.
  (func (export "to_own_handler") (param i32) (result i32)
    try (result i32)
      try $t (result i32)
        (call $throw_a (i32.const 0))
        (i32.const 0)
      catch $a
        drop
        try (result i32)
          (call $throw_b (local.get 0))
          (i32.const 0)
        delegate $t
      catch $b
        (i32.const -1)
        (i32.mul)
      end
    catch $b
      (i32.add (i32.const 9))
    end)
  ;; Chains, also through one that ends further inside than the next begins.
  (func (export "chain") (param i32) (result i32)
    try $1 (result i32)
      try $2 (result i32)
        try $3 (result i32)
          try $4 (result i32)
            try (result i32)
              (call $throw_a (local.get 0))
              (i32.const 0)
            delegate $4
          delegate $2
        catch_all
          (i32.const -3)
        end
      delegate $1
    catch $a
      (i32.add (i32.const 10))
    end)
  (func (export "chain_here") (param i32) (result i32)
    try $1 (result i32)
      try $2 (result i32)
        try $3 (result i32)
          try $4 (result i32)
            try (result i32)
              (throw $a (local.get 0))
            delegate $4
          delegate $2
        catch_all
          (i32.const -3)
        end
      delegate $1
    catch $a
      (i32.add (i32.const 11))
    end)
  ;; Rethrown from inside: delegated like any other.
  (func (export "rethrow_delegated") (param i32) (result i32)
    try $t (result i32)
      try (result i32)
        try (result i32)
          (call $throw_a (local.get 0))
          (i32.const 0)
        catch_all
          try (result i32)
            (rethrow 1)
          delegate $t
        end
      catch_all
        (i32.const -1)
      end
    catch $a
      (i32.add (i32.const 12))
    end)
  (func (export "params") (param i32) (result i32)
    try $t (result i32)
      (i32.const 1)
      (local.get 0)
      try (param i32 i32) (result i32)
        (call $throw_a)
        (call $pass)
      delegate $t
    catch_all
      (i32.const 13)
    end)
  ;; Calls after the construct are handled as before it.
  (func (export "after") (param i32) (result i32)
    try $t (result i32)
      try
        try
          try
            (call $pass (i32.const 0))
            drop
          delegate $t
        catch_all
        end
        (call $throw_a (local.get 0))
      catch $a
        drop
      end
      (call $throw_b (local.get 0))
      (i32.const 0)
    catch $a
      (i32.const -1)
      (i32.mul)
    catch $b
      (i32.add (i32.const 14))
    end)

  ;; A tail call leaves the frame, and with it the handlers.
  (type $t (func (param i32) (result i32)))
  (func $thrower (type $t) (throw $a (local.get 0)))
  (table $table (export "table") funcref (elem $thrower $tail_in_body))
  (func $tail_in_body (export "tail_in_body") (param i32) (result i32)
    try (result i32)
      (return_call $thrower (local.get 0))
    catch_all
      (i32.const -1)
    end)
  (func (export "tail_indirect_in_body") (param i32) (result i32)
    try (result i32)
      (return_call_indirect (type $t) (local.get 0) (i32.const 0))
    catch_all
      (i32.const -1)
    end)
  (func (export "tail_caught_by_caller") (param i32) (result i32)
    try (result i32)
      (call $tail_in_body (local.get 0))
    catch $a
      (i32.add (i32.const 15))
    end)
  (func (export "tail_in_handler") (param i32) (result i32)
    try (result i32)
      (call $throw_a (local.get 0))
      (i32.const 0)
    catch $a
      (return_call $pass)
    end)
  (func $count (export "tail_loop") (param i32 i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
    try
      (call $throw_b (i32.const 1))
    catch $b
      (local.set 1 (i32.add (local.get 1)))
      (return_call $count (i32.sub (local.get 0) (i32.const 1)) (local.get 1))
    end
    unreachable))

(assert_return (invoke "to_outer" (i32.const 100)) (i32.const 101))
(assert_return (invoke "to_outer_here" (i32.const 100)) (i32.const 102))
(assert_return (invoke "nothing_thrown" (i32.const 100)) (i32.const 100))
(assert_return (invoke "past" (i32.const 100)) (i32.const 103))
(assert_return (invoke "past_here" (i32.const 100)) (i32.const 104))
(assert_return (invoke "uncaught_there" (i32.const 100)) (i32.const 105))
(assert_exception (invoke "to_function" (i32.const 1)))
(assert_exception (invoke "to_function_here" (i32.const 1)))
(assert_return (invoke "caught_by_caller" (i32.const 100)) (i32.const 106))
(assert_return (invoke "to_block" (i32.const 100)) (i32.const 107))
(assert_return (invoke "to_loop_in_if" (i32.const 100)) (i32.const 108))
(assert_return (invoke "to_own_handler" (i32.const 100)) (i32.const 109))
(assert_return (invoke "chain" (i32.const 100)) (i32.const 110))
(assert_return (invoke "chain_here" (i32.const 100)) (i32.const 111))
(assert_return (invoke "rethrow_delegated" (i32.const 100)) (i32.const 112))
(assert_return (invoke "params" (i32.const 100)) (i32.const 13))
(assert_return (invoke "after" (i32.const 100)) (i32.const 114))
(assert_exception (invoke "tail_in_body" (i32.const 1)))
(assert_exception (invoke "tail_indirect_in_body" (i32.const 1)))
(assert_return (invoke "tail_caught_by_caller" (i32.const 100)) (i32.const 115))
(assert_return (invoke "tail_in_handler" (i32.const 100)) (i32.const 100))
(assert_return (invoke "tail_loop" (i32.const 100000) (i32.const 0)) (i32.const 100000))
