;; Exceptions in their first form: which handler takes them, what is on the stack then, what `delegate` skips, and what
;; `rethrow` throws.
(module $m
  (tag $a (export "a") (param i32))
  (tag $b (export "b") (param i64 f64 v128 externref))
  (tag $c (export "c"))
  (func $throw (export "throw") (param $which i32)
    (block $c
      (block $b
        (block $a
          (block $none (br_table $none $a $b $c (local.get $which)))
          (return))
        (throw $a (i32.const 10)))
      (throw $b (i64.const 20) (f64.const 0.5) (v128.const i32x4 1 2 3 4) (ref.null extern)))
    (throw $c))
  (func (export "throw too") (param i32) (call $throw (local.get 0))))
(register "m" $m)

(module
  (import "m" "a" (tag $a (param i32)))
  (import "m" "b" (tag $b (param i64 f64 v128 externref)))
  (import "m" "c" (tag $c))
  (import "m" "throw" (func $throw (param i32)))
  (import "m" "throw too" (func $throw_too (param i32)))
  (tag $own (param i32 i32))
  (global $count (mut i32) (i32.const 0))

  ;; Clauses in order, with their values; what was on the stack before stays.
  (func (export "which") (param i32) (result i32)
    i32.const 1000
    try (result i32)
      local.get 0
      call $throw
      i32.const 1
    catch $a
    catch $b
      ref.is_null
      if (param i64 f64 v128) (result i32)
        i32x4.extract_lane 2
        local.set 0
        drop
        i32.wrap_i64
        local.get 0
        i32.add
      else
        unreachable
      end
    catch_all
      i32.const 3
    end
    i32.add)
  (func (export "which too") (param i32) (result i32)
    i32.const 1000
    try (result i32)
      local.get 0
      call $throw_too
      i32.const 1
    catch_all
      i32.const 3
    end
    i32.add)

  ;; Locals keep what they were set to before the throw, also those that operands stand for.
  (func (export "locals") (param i32) (result i32) (local i32 i64)
    local.get 0
    local.get 1
    try (param i32) (result i32)
      i32.const 7
      local.set 1
      i64.const 5
      local.set 2
      local.get 0
      call $throw
      i32.const 8
      local.set 1
      i32.const 100
      i32.add
    catch_all
      local.get 1
      local.get 2
      i32.wrap_i64
      i32.add
    end
    i32.add)

  ;; Parameters and several results; a branch out of the body and out of a handler.
  (func (export "results") (param i32) (result i32 i64 i32 i64 i32 i32)
    i32.const 1
    i64.const 2
    try (param i32 i64) (result i32 i64 i32 i64 i32 i32)
      i32.const 3
      i64.const 4
      i32.const 5
      local.get 0
      i32.eqz
      if (param i32 i64 i32 i64 i32) (result i32 i64 i32 i64 i32 i32)
        i32.const 6
        br 1
      else
        local.get 0
        call $throw
        i32.const 7
      end
    catch $a
      local.set 0
      i32.const 11
      i64.const 12
      i32.const 13
      i64.const 14
      i32.const 15
      local.get 0
      br 0
    catch_all
      i32.const 21
      i64.const 22
      i32.const 23
      i64.const 24
      i32.const 25
      i32.const 26
    end)

  ;; A handler is outside its own try; the next one out takes what it throws.
  (func (export "from handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throw
        i32.const 0
      catch $a
        drop
        i32.const 1
        i32.const 2
        throw $own
      catch $c
        i32.const 3
        call $throw_too
        unreachable
      catch $own
        unreachable
      end
    catch $own
      i32.sub
    catch_all
      i32.const 77
    end)

  ;; No clause at all, and an empty body.
  (func (export "no clause") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throw
        i32.const 5
      end
    catch_all
      i32.const 6
    end
    try
    catch_all
      unreachable
    end)

  ;; In a loop, with branches to the loop from the body and from a handler.
  (func (export "loop") (param i32) (result i32) (local $i i32) (local $sum i32)
    loop $again
      try
        local.get $i
        i32.const 1
        i32.add
        local.set $i
        local.get $i
        i32.const 3
        i32.rem_u
        call $throw
        local.get $i
        local.get 0
        i32.lt_u
        br_if $again
      catch $a
        local.get $sum
        i32.add
        local.set $sum
        br $again
      catch_all
        local.get $sum
        i32.const 1
        i32.add
        local.set $sum
        local.get $i
        local.get 0
        i32.lt_u
        br_if $again
      end
    end
    local.get $sum)

  ;; delegate: over handlers that would fit, to a try, to a block, to the function.
  (func (export "delegate") (param i32) (result i32)
    try $outer (result i32)
      try (result i32)
        try (result i32)
          local.get 0
          call $throw
          i32.const 1
        delegate $outer
      catch_all
        i32.const 2
      end
    catch $a
    catch_all
      i32.const 3
    end)
  (func (export "delegate block") (param i32) (result i32)
    try (result i32)
      block (result i32)
        try $skipped (result i32)
          loop (result i32)
            try (result i32)
              local.get 0
              call $throw_too
              i32.const 1
            delegate 2
          end
        catch_all
          i32.const 2
        end
      end
    catch_all
      i32.const 3
    end)
  (func $delegate_function (export "delegate function") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throw
        i32.const 1
      delegate 1
    catch_all
      i32.const 2
    end)
  (func (export "delegate caller") (param i32) (result i32)
    try (result i32)
      local.get 0
      call $delegate_function
    catch $a
      i32.const 100
      i32.add
    end)
  ;; A delegate to a try in whose handler it stands goes further out; two delegates, one after the other.
  (func (export "delegate handler") (param i32) (result i32)
    try (result i32)
      try $inner (result i32)
        i32.const 1
        call $throw
        i32.const 1
      catch $a
        drop
        try (result i32)
          local.get 0
          call $throw
          i32.const 2
        delegate $inner
      catch_all
        i32.const 3
      end
    catch_all
      i32.const 4
    end)
  (func (export "delegate twice") (param i32) (result i32)
    try $outer (result i32)
      try (result i32)
        try $middle (result i32)
          try (result i32)
            try (result i32)
              local.get 0
              call $throw
              i32.const 1
            delegate $middle
          catch_all
            i32.const 2
          end
        delegate $outer
      catch_all
        i32.const 3
      end
    catch_all
      i32.const 4
    end)
  (func (export "delegate dead") (result i32)
    try $t (result i32)
      i32.const 4
      return
      try (result i32)
        try
        delegate 0
        i32.const 1
      delegate $t
    catch_all
      unreachable
    end)

  ;; rethrow: of the innermost and of an outer handler, with values of results and operands about.
  (func $rethrow (export "rethrow") (param i32 i32) (result i32)
    i32.const 40
    try $outer (result i32)
      local.get 0
      call $throw
      i32.const 1
    catch_all
      i32.const 500
      try $inner (result i32)
        i32.const 3
        call $throw_too
        unreachable
      catch $a
        drop
        i32.const 2
      catch $c
        local.get 1
        i32.eqz
        if
          rethrow $outer
        end
        local.get 1
        i32.const 1
        i32.eq
        if
          rethrow 1
        end
        i32.const 3
      end
      i32.add
    end
    i32.add)
  (func (export "rethrow caller") (param i32 i32) (result i32)
    try (result i32)
      local.get 0
      local.get 1
      call $rethrow
    catch $a
      i32.const 1000
      i32.add
    catch $b
      drop drop drop
      i32.wrap_i64
      i32.const 2000
      i32.add
    catch_all
      i32.const 3000
    end)
  ;; Values of a handler that keeps its exception, in all shapes.
  (func (export "rethrow values") (param i32) (result i64 f64 i32 i32 i32 i32) (local externref v128)
    try (result i64 f64 i32 i32 i32 i32)
      try (result i64 f64 i32 i32 i32 i32)
        i32.const 2
        call $throw
        unreachable
      catch $b
        local.set 1
        local.set 2
        local.get 2
        i32x4.extract_lane 0
        local.get 2
        i32x4.extract_lane 3
        local.get 0
        i32.eqz
        if
          rethrow 1
        end
        i32.const 7
        i32.const 8
      end
    catch $b
      drop
      drop
      i32.const 1
      i32.const 2
      i32.const 3
      i32.const 4
    end)
  (func (export "rethrow recatch") (param i32) (result i32)
    try (result i32)
      local.get 0
      call $throw
      i32.const 0
    catch_all
      try (result i32)
        rethrow 1
      catch $a
        i32.const 1
        i32.add
      catch_all
        try (result i32)
          rethrow 1
        catch_all
          i32.const 2
        end
      end
    end)
  (func (export "rethrow delegate") (param i32) (result i32)
    try $far (result i32)
      try (result i32)
        try (result i32)
          local.get 0
          call $throw
          i32.const 0
        catch_all
          try (result i32)
            rethrow 1
          delegate $far
        end
      catch_all
        i32.const 1
      end
    catch $a
    end)
  ;; Many throws in a loop, each thrown again: nothing may be left over from one to the next.
  (func (export "storm") (param i32) (result i32) (local $sum i32)
    loop $again
      try
        try
          i32.const 1
          call $throw
        catch $a
          local.get $sum
          i32.add
          local.set $sum
          rethrow 0
        end
      catch $a
        local.get $sum
        i32.sub
        i32.const -1
        i32.mul
        local.set $sum
        (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
      end
      local.get 0
      i32.const 1
      i32.sub
      local.tee 0
      br_if $again
    end
    local.get $sum)

  ;; Both forms in one function.
  (func (export "both forms") (param i32) (result i32) (local $e exnref)
    block $done (result i32)
      try (result i32)
        block $caught (result exnref)
          try_table (catch_all_ref $caught)
            try
              local.get 0
              call $throw
            catch $c
              throw $c
            end
          end
          i32.const 1
          br $done
        end
        local.set $e
        try (result i32)
          local.get $e
          throw_ref
        delegate 0
      catch $a
      catch $c
        i32.const 33
      end
    end)
  ;; A try_table is skipped by a delegate, and takes what is delegated to it.
  (func (export "delegate table") (param i32) (result i32)
    block $outer
      try_table $table (catch_all $outer)
        block $inner
          try_table (catch_all $inner)
            try
              local.get 0
              call $throw
            delegate $table
          end
          i32.const 1
          return
        end
        i32.const 2
        return
      end
    end
    i32.const 3)

  ;; A tail call in a body leaves the try; one in a handler leaves the function.
  (func (export "tail") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        return_call $delegate_function
      catch_all
        i32.const 50
      end
    catch_all
      i32.const 60
    end)
  (func (export "tail handler") (param i32) (result i32)
    try (result i32)
      i32.const 3
      call $throw
      i32.const 1
    catch_all
      local.get 0
      return_call $delegate_function
    end)

  ;; Traps are not exceptions.
  (func (export "trap") (param i32) (result i32)
    try (result i32)
      i32.const 1
      local.get 0
      i32.div_u
    catch_all
      i32.const 2
    end))

(assert_return (invoke "which" (i32.const 0)) (i32.const 1001))
(assert_return (invoke "which" (i32.const 1)) (i32.const 1010))
(assert_return (invoke "which" (i32.const 2)) (i32.const 1023))
(assert_return (invoke "which" (i32.const 3)) (i32.const 1003))
(assert_return (invoke "which too" (i32.const 2)) (i32.const 1003))
(assert_return (invoke "locals" (i32.const 0)) (i32.const 100))
(assert_return (invoke "locals" (i32.const 3)) (i32.const 15))
(assert_return (invoke "results" (i32.const 0)) (i32.const 1) (i64.const 2) (i32.const 3) (i64.const 4) (i32.const 5) (i32.const 6))
(assert_return (invoke "results" (i32.const 4)) (i32.const 21) (i64.const 22) (i32.const 23) (i64.const 24) (i32.const 25) (i32.const 26))
(assert_return (invoke "results" (i32.const 1)) (i32.const 11) (i64.const 12) (i32.const 13) (i64.const 14) (i32.const 15) (i32.const 10))
(assert_return (invoke "results" (i32.const 2)) (i32.const 21) (i64.const 22) (i32.const 23) (i64.const 24) (i32.const 25) (i32.const 26))
(assert_return (invoke "from handler" (i32.const 0)) (i32.const 0))
(assert_return (invoke "from handler" (i32.const 1)) (i32.const -1))
(assert_return (invoke "from handler" (i32.const 2)) (i32.const 77))
(assert_return (invoke "from handler" (i32.const 3)) (i32.const 77))
(assert_return (invoke "no clause" (i32.const 0)) (i32.const 5))
(assert_return (invoke "no clause" (i32.const 1)) (i32.const 6))
(assert_return (invoke "loop" (i32.const 9)) (i32.const 33))
(assert_return (invoke "delegate" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate" (i32.const 1)) (i32.const 10))
(assert_return (invoke "delegate" (i32.const 3)) (i32.const 3))
(assert_return (invoke "delegate block" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate block" (i32.const 2)) (i32.const 3))
(assert_return (invoke "delegate function" (i32.const 0)) (i32.const 1))
(assert_exception (invoke "delegate function" (i32.const 1)))
(assert_return (invoke "delegate caller" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate caller" (i32.const 1)) (i32.const 110))
(assert_exception (invoke "delegate caller" (i32.const 3)))
(assert_return (invoke "delegate handler" (i32.const 0)) (i32.const 2))
(assert_return (invoke "delegate handler" (i32.const 3)) (i32.const 4))
(assert_return (invoke "delegate twice" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate twice" (i32.const 1)) (i32.const 4))
(assert_return (invoke "delegate dead") (i32.const 4))
(assert_return (invoke "rethrow" (i32.const 0) (i32.const 0)) (i32.const 41))
(assert_exception (invoke "rethrow" (i32.const 1) (i32.const 0)))
(assert_return (invoke "rethrow" (i32.const 1) (i32.const 2)) (i32.const 543))
(assert_return (invoke "rethrow caller" (i32.const 1) (i32.const 0)) (i32.const 1010))
(assert_return (invoke "rethrow caller" (i32.const 2) (i32.const 0)) (i32.const 2020))
(assert_return (invoke "rethrow caller" (i32.const 3) (i32.const 0)) (i32.const 3000))
(assert_return (invoke "rethrow caller" (i32.const 1) (i32.const 1)) (i32.const 3000))
(assert_return (invoke "rethrow caller" (i32.const 1) (i32.const 2)) (i32.const 543))
(assert_return (invoke "rethrow values" (i32.const 1)) (i64.const 20) (f64.const 0.5) (i32.const 1) (i32.const 4) (i32.const 7) (i32.const 8))
(assert_return (invoke "rethrow values" (i32.const 0)) (i64.const 20) (f64.const 0.5) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4))
(assert_return (invoke "rethrow recatch" (i32.const 1)) (i32.const 11))
(assert_return (invoke "rethrow recatch" (i32.const 2)) (i32.const 2))
(assert_return (invoke "rethrow recatch" (i32.const 0)) (i32.const 0))
(assert_return (invoke "rethrow delegate" (i32.const 1)) (i32.const 10))
(assert_exception (invoke "rethrow delegate" (i32.const 2)))
(assert_return (invoke "storm" (i32.const 20000)) (i32.const 20000))
(assert_return (invoke "both forms" (i32.const 0)) (i32.const 1))
(assert_return (invoke "both forms" (i32.const 1)) (i32.const 10))
(assert_return (invoke "both forms" (i32.const 3)) (i32.const 33))
(assert_exception (invoke "both forms" (i32.const 2)))
(assert_return (invoke "delegate table" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate table" (i32.const 2)) (i32.const 3))
(assert_return (invoke "tail" (i32.const 0)) (i32.const 1))
(assert_exception (invoke "tail" (i32.const 1)))
(assert_return (invoke "tail handler" (i32.const 0)) (i32.const 1))
(assert_exception (invoke "tail handler" (i32.const 3)))
(assert_return (invoke "trap" (i32.const 1)) (i32.const 1))
(assert_trap (invoke "trap" (i32.const 0)) "integer divide by zero")

(assert_invalid (module (func (rethrow 0))) "invalid rethrow label")
(assert_invalid (module (func try rethrow 0 catch_all end)) "invalid rethrow label")
(assert_invalid (module (func block rethrow 0 end)) "invalid rethrow label")
(assert_invalid (module (func try delegate 1)) "unknown label")
(assert_invalid (module (func try catch 0 end)) "unknown tag")
