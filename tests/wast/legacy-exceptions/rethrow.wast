;; `rethrow`: of the innermost and of outer caught exceptions, with its identity and payload, from handlers of all kinds.

(module $m
  (tag $a (export "a") (param i32)) (tag $b (export "b") (param i64)) (tag $r (param externref))
  (func $throw_a (param i32) (throw $a (local.get 0)))
  (func $throw_b (param i64) (throw $b (local.get 0)))
  (func $nothing)

  (func (export "out") (param i32)
    try
      (call $throw_a (local.get 0))
    catch $a
      drop
      (rethrow 0)
    end)
  (func (export "out_all") (param i32)
    try
      (call $throw_a (local.get 0))
    catch_all
      (rethrow 0)
    end)
  (func (export "here") (param i32)
    try
      (throw $a (local.get 0))
    catch $a
      drop
      (rethrow 0)
    end)
  (func (export "caught_outside") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      catch $a
        drop
        (rethrow 0)
      end
    catch $a
    end)
  (func (export "all_caught_outside") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      catch_all
        (rethrow 0)
      end
    catch $b
      drop
      (i32.const -1)
    catch $a
    end)
  (func $out_all (param i32)
    try
      (call $throw_a (local.get 0))
    catch_all
      (call $nothing)
      (rethrow 0)
    end)
  (func (export "through_call") (param i32) (result i32)
    try (result i32)
      (call $out_all (local.get 0))
      (i32.const 0)
    catch $a
    end)
  ;; The outer one of two caught exceptions.
  (func $outer (export "outer") (param i32)
    try
      (call $throw_a (local.get 0))
    catch $a
      drop
      try
        (call $throw_b (i64.const 5))
      catch $b
        drop
        (rethrow 1)
      end
    end)
  (func (export "outer_caught") (param i32) (result i32)
    try (result i32)
      (call $outer (local.get 0))
      (i32.const 0)
    catch $b
      drop
      (i32.const -1)
    catch $a
    end)
  (func (export "inner_caught") (param i32) (result i64)
    try (result i64)
      try
        (call $throw_a (local.get 0))
      catch_all
        try
          (call $throw_b (i64.const 5))
        catch_all
          (rethrow 0)
        end
      end
      (i64.const 0)
    catch $b
    end)
  ;; From the body of a `try` in a handler: caught there.
  (func (export "in_body") (param i32) (result i32)
    try (result i32)
      (call $throw_a (local.get 0))
      (i32.const 0)
    catch $a
      drop
      try (result i32)
        (rethrow 1)
      catch $b
        drop
        (i32.const -1)
      catch $a
        (i32.add (i32.const 100))
      end
    end)
  (func (export "in_body_all") (param i32) (result i32)
    try (result i32)
      (call $throw_a (local.get 0))
      (i32.const 0)
    catch_all
      try (result i32)
        (rethrow 1)
      catch_all
        (i32.const 55)
      end
    end)
  ;; Conditionally, through blocks and loops, after other throws.
  (func (export "after_others") (param i32 i32) (result i32) (local $i i32)
    try (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      catch $a
        (loop $l
          try
            (call $throw_b (i64.const 1))
          catch $b
            drop
          end
          try
            (call $throw_a (i32.const 2))
          catch_all
          end
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 50)))
          (block (if (i32.eq (local.get $i) (local.get 1)) (then (rethrow 3)))))
        (i32.add (i32.const 1000))
      end
    catch $a
      (i32.add (i32.const 2000))
    end)
  ;; A reference in the payload lives as long as its exception.
  (func (export "reference") (param externref) (result externref)
    try (result externref)
      try (result externref)
        (throw $r (local.get 0))
      catch $r
        drop
        try
          (call $throw_b (i64.const 1))
        catch_all
        end
        (rethrow 0)
      end
    catch $r
    end)
  (func $recurse (param i32) (result i32)
    try (result i32)
      (if (result i32) (local.get 0) (then (call $recurse (i32.sub (local.get 0) (i32.const 1)))) (else (throw $a (i32.const 9))))
    catch_all
      (rethrow 0)
    end)
  (func (export "deep") (param i32) (result i32)
    try (result i32)
      (call $recurse (local.get 0))
    catch $a
    end)
  ;; Each handler of one `try` has its own exception.
  (func (export "siblings") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (if (local.get 0) (then (call $throw_a (i32.const 3))))
        (call $throw_b (i64.const 4))
        (i32.const 0)
      catch $a
        drop
        (i32.const 30)
      catch $b
        drop
        (rethrow 0)
      end
    catch $b
      (i32.wrap_i64)
    end)
  ;; A storm: objects are not kept.
  (func (export "storm") (param i32) (result i32) (local $sum i32)
    (loop $l
      try
        try
          (call $throw_a (i32.const 1))
        catch_all
          (rethrow 0)
        end
      catch $a
        (local.set $sum (i32.add (local.get $sum)))
      end
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum)))

(assert_exception (invoke "out" (i32.const 1)))
(assert_exception (invoke "out_all" (i32.const 1)))
(assert_exception (invoke "here" (i32.const 1)))
(assert_return (invoke "caught_outside" (i32.const 42)) (i32.const 42))
(assert_return (invoke "all_caught_outside" (i32.const 43)) (i32.const 43))
(assert_return (invoke "through_call" (i32.const 44)) (i32.const 44))
(assert_exception (invoke "outer" (i32.const 1)))
(assert_return (invoke "outer_caught" (i32.const 45)) (i32.const 45))
(assert_return (invoke "inner_caught" (i32.const 45)) (i64.const 5))
(assert_return (invoke "in_body" (i32.const 46)) (i32.const 146))
(assert_return (invoke "in_body_all" (i32.const 46)) (i32.const 55))
(assert_return (invoke "after_others" (i32.const 7) (i32.const 1)) (i32.const 1007))
(assert_return (invoke "after_others" (i32.const 7) (i32.const 50)) (i32.const 2007))
(assert_return (invoke "reference" (ref.extern 12)) (ref.extern 12))
(assert_return (invoke "reference" (ref.null extern)) (ref.null extern))
(assert_return (invoke "deep" (i32.const 0)) (i32.const 9))
(assert_return (invoke "deep" (i32.const 1000)) (i32.const 9))
(assert_return (invoke "siblings" (i32.const 0)) (i32.const 4))
(assert_return (invoke "siblings" (i32.const 1)) (i32.const 30))
(assert_return (invoke "storm" (i32.const 100000)) (i32.const 100000))

;; Exceptions of another module, by its tags and by none; the same tag imported twice.
(register "m")
(module
  (tag $a (import "m" "a") (param i32)) (tag $a2 (import "m" "a") (param i32)) (tag $b (import "m" "b") (param i64))
  (tag $own (param i32))
  (func $out (import "m" "out") (param i32))
  (func $outer (import "m" "outer") (param i32))
  (func (export "catch") (param i32) (result i32)
    try (result i32)
      (call $out (local.get 0))
      (i32.const 0)
    catch $own
      (i32.const -1)
      (i32.mul)
    catch $a
    end)
  (func (export "catch_second_name") (param i32) (result i32)
    try (result i32)
      (call $outer (local.get 0))
      (i32.const 0)
    catch $b
      drop
      (i32.const -1)
    catch $a2
    end)
  ;; Which of the two names is first is not known when compiling.
  (func (export "throw_here") (param i32) (result i32)
    try (result i32)
      (throw $a2 (local.get 0))
    catch $a
      (i32.add (i32.const 1))
    catch $a2
      (i32.add (i32.const 2))
    end)
  (func (export "rethrow") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $out (local.get 0))
        (i32.const 0)
      catch_all
        (rethrow 0)
      end
    catch $own
      (i32.const -1)
      (i32.mul)
    catch $a2
    end))
(assert_return (invoke "catch" (i32.const 5)) (i32.const 5))
(assert_return (invoke "catch_second_name" (i32.const 6)) (i32.const 6))
(assert_return (invoke "throw_here" (i32.const 6)) (i32.const 7))
(assert_return (invoke "rethrow" (i32.const 8)) (i32.const 8))
