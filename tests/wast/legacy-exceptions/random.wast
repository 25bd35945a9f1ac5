;; Made by generate.py 1 60: random functions, and what its model says that they come to.
(module
  (tag $a (param i32)) (tag $b)
  (global $h (mut i32) (i32.const 1))
  (func $log (param i32) (global.set $h (i32.add (i32.mul (global.get $h) (i32.const 31)) (local.get 0))))
  (func $throw (param i32 i32) (if (local.get 0) (then (throw $b))) (throw $a (local.get 1)))
  (func $f0 (param i32)
    local.get 0 i32.const 2 i32.and if
      block
        try
          try
            try
              local.get 0 i32.const 1 i32.and if
                i32.const 4 call $log
                i32.const 0 i32.const 49 call $throw
                i32.const 1 i32.const 93 call $throw
              end
              i32.const 29 call $log
            delegate 3
            try
              br 5
              throw $b
            end
            try
              i32.const 93 call $log
            catch $a call $log
              try
                i32.const 39 throw $a
                i32.const 64 call $log
                rethrow 1
                i32.const 62 throw $a
              end
              rethrow 0
            catch_all
            end
          delegate 0
        delegate 1
      end
    end)
  (func (export "f0") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f0 (local.get 0)) (global.get $h))
  (func $f1 (param i32)
    try
      br 0
      block
        try
          local.get 0 i32.const 2 i32.and if
            try
              block
                i32.const 45 call $log
              end
              local.get 0 i32.const 8 i32.and if
                i32.const 0 i32.const 50 call $throw
                br 6
              end
            catch $a call $log
              rethrow 0
              block
                i32.const 65 throw $a
                i32.const 46 call $log
                i32.const 1 call $log
              end
            catch $b
              local.get 0 i32.const 2 i32.and if
                i32.const 12 throw $a
                br 6
              end
              try
                i32.const 87 call $log
                i32.const 3 call $log
                throw $b
              catch $a call $log
                i32.const 9 call $log
                i32.const 33 call $log
              end
              i32.const 35 call $log
              local.get 0 i32.const 4 i32.and if
              end
            end
          end
        delegate 1
      end
    delegate 0)
  (func (export "f1") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f1 (local.get 0)) (global.get $h))
  (func $f2 (param i32)
    i32.const 94 call $log
    block
      try
        try
          throw $b
        end
        i32.const 91 call $log
        block
          block
            try
              i32.const 51 throw $a
              try
                i32.const 1 i32.const 8 call $throw
                i32.const 0 i32.const 28 call $throw
              delegate 2
            end
          end
        end
      catch $b
      end
    end)
  (func (export "f2") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f2 (local.get 0)) (global.get $h))
  (func $f3 (param i32)
    i32.const 5 call $log
    local.get 0 i32.const 2 i32.and if
      i32.const 91 call $log
      local.get 0 i32.const 1 i32.and if
        i32.const 27 throw $a
        local.get 0 i32.const 8 i32.and if
          block
            i32.const 1 i32.const 3 call $throw
            i32.const 1 i32.const 37 call $throw
            i32.const 26 call $log
            try
              i32.const 0 i32.const 35 call $throw
              try
                i32.const 88 call $log
                i32.const 9 throw $a
              delegate 5
            catch_all
            end
          end
        end
      end
    end)
  (func (export "f3") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f3 (local.get 0)) (global.get $h))
  (func $f4 (param i32)
    throw $b
    block
      br 1
      i32.const 31 call $log
      try
        i32.const 71 call $log
        try
          i32.const 10 call $log
          try
            try
              i32.const 76 call $log
              try
              delegate 0
            catch $a call $log
            catch $b
            end
          catch $a call $log
          catch $b
          end
        delegate 1
      end
    end)
  (func (export "f4") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f4 (local.get 0)) (global.get $h))
  (func $f5 (param i32)
    local.get 0 i32.const 8 i32.and if
      i32.const 84 call $log
      i32.const 0 i32.const 2 call $throw
      try
        try
          i32.const 0 i32.const 9 call $throw
          try
            i32.const 28 call $log
            try
              try
                i32.const 27 call $log
                i32.const 32 call $log
                i32.const 36 call $log
              delegate 0
              try
                i32.const 74 call $log
                i32.const 0 i32.const 50 call $throw
                i32.const 24 call $log
              catch $b
                i32.const 70 call $log
              end
            delegate 4
          catch_all
          end
        delegate 0
      delegate 1
    end)
  (func (export "f5") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f5 (local.get 0)) (global.get $h))
  (func $f6 (param i32)
    try
      try
        i32.const 1 i32.const 17 call $throw
        try
          block
            try
              i32.const 56 call $log
              block
                i32.const 0 i32.const 33 call $throw
              end
            delegate 0
          end
          try
            try
              block
                i32.const 44 call $log
              end
            catch_all
            end
          delegate 3
        catch $a call $log
        catch $b
        end
      catch_all
      end
    delegate 0)
  (func (export "f6") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f6 (local.get 0)) (global.get $h))
  (func $f7 (param i32)
    i32.const 12 call $log
    i32.const 23 throw $a
    block
      try
        throw $b
        block
          try
            local.get 0 i32.const 4 i32.and if
              i32.const 10 call $log
              try
                i32.const 99 call $log
                br 1
                i32.const 89 call $log
              delegate 2
            end
            try
              i32.const 90 call $log
              try
              delegate 4
              try
                i32.const 33 call $log
                i32.const 73 call $log
                i32.const 0 i32.const 64 call $throw
                i32.const 1 i32.const 50 call $throw
              catch $a call $log
                i32.const 33 throw $a
              catch $a call $log
                i32.const 0 i32.const 18 call $throw
                rethrow 0
                i32.const 49 throw $a
              end
            catch $b
            end
          delegate 3
        end
      end
    end)
  (func (export "f7") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f7 (local.get 0)) (global.get $h))
  (func $f8 (param i32)
    i32.const 77 call $log
    block
      try
        i32.const 25 throw $a
        block
          i32.const 78 call $log
        end
        throw $b
      delegate 0
    end)
  (func (export "f8") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f8 (local.get 0)) (global.get $h))
  (func $f9 (param i32)
    block
      i32.const 1 i32.const 88 call $throw
      try
        block
          i32.const 27 call $log
          local.get 0 i32.const 8 i32.and if
            i32.const 0 i32.const 4 call $throw
            i32.const 96 call $log
          end
          i32.const 38 call $log
        end
        try
          i32.const 48 call $log
          local.get 0 i32.const 4 i32.and if
            block
              try
                i32.const 57 call $log
              delegate 5
            end
          end
        catch $b
        end
      catch $b
      end
    end)
  (func (export "f9") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f9 (local.get 0)) (global.get $h))
  (func $f10 (param i32)
    i32.const 36 throw $a
    local.get 0 i32.const 2 i32.and if
      local.get 0 i32.const 8 i32.and if
        try
          local.get 0 i32.const 2 i32.and if
            block
              local.get 0 i32.const 8 i32.and if
                i32.const 64 throw $a
              end
              throw $b
              i32.const 93 call $log
              local.get 0 i32.const 8 i32.and if
                br 6
                br 0
              end
            end
            br 2
            try
              try
                i32.const 34 call $log
              catch $a call $log
              end
            delegate 2
          end
        delegate 2
      end
    end)
  (func (export "f10") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f10 (local.get 0)) (global.get $h))
  (func $f11 (param i32)
    i32.const 9 call $log
    local.get 0 i32.const 1 i32.and if
      block
        try
          local.get 0 i32.const 4 i32.and if
            i32.const 31 throw $a
            try
              i32.const 90 call $log
              try
                i32.const 22 throw $a
                i32.const 95 call $log
              catch $b
              catch $a call $log
              end
            end
          end
        delegate 1
      end
    end)
  (func (export "f11") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f11 (local.get 0)) (global.get $h))
  (func $f12 (param i32)
    try
      try
        try
          try
            i32.const 1 i32.const 98 call $throw
            throw $b
            i32.const 94 call $log
            i32.const 75 call $log
          catch $a call $log
            block
              i32.const 18 call $log
              try
                i32.const 97 call $log
                i32.const 15 call $log
                i32.const 1 i32.const 9 call $throw
                i32.const 51 call $log
              catch $b
                rethrow 0
              catch_all
                rethrow 0
              end
            end
            try
              try
                i32.const 36 call $log
                i32.const 89 call $log
                i32.const 29 call $log
                i32.const 64 call $log
              delegate 3
              br 1
              try
                br 3
                throw $b
              catch $b
              end
            delegate 0
          end
        catch_all
        end
      catch $b
      end
    delegate 0)
  (func (export "f12") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f12 (local.get 0)) (global.get $h))
  (func $f13 (param i32)
    i32.const 98 call $log
    local.get 0 i32.const 1 i32.and if
    end
    try
      local.get 0 i32.const 4 i32.and if
        i32.const 84 call $log
        try
          i32.const 8 call $log
        catch $a call $log
          try
            rethrow 1
          end
        catch $a call $log
          try
            try
              i32.const 1 i32.const 34 call $throw
              local.get 0 i32.const 2 i32.and if
              end
            delegate 0
          delegate 1
        catch_all
        end
      end
    catch $b
    end)
  (func (export "f13") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f13 (local.get 0)) (global.get $h))
  (func $f14 (param i32)
    try
      try
        i32.const 20 throw $a
      delegate 0
    end
    try
      local.get 0 i32.const 8 i32.and if
        i32.const 41 call $log
        i32.const 69 call $log
        i32.const 86 call $log
      end
    end
    try
      i32.const 68 call $log
      throw $b
      i32.const 5 call $log
      try
        try
          try
            try
              try
                i32.const 32 call $log
                i32.const 43 throw $a
              catch $b
                i32.const 84 call $log
                br 4
                rethrow 0
                rethrow 0
              catch $a call $log
                i32.const 67 call $log
              catch_all
              end
            delegate 2
          delegate 1
        delegate 2
      catch_all
      end
    delegate 0)
  (func (export "f14") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f14 (local.get 0)) (global.get $h))
  (func $f15 (param i32)
    br 0
    try
      block
        i32.const 1 i32.const 42 call $throw
        local.get 0 i32.const 8 i32.and if
          block
            try
              try
              catch_all
                throw $b
                i32.const 1 i32.const 47 call $throw
                rethrow 0
                i32.const 60 call $log
              end
              local.get 0 i32.const 4 i32.and if
                i32.const 33 call $log
                i32.const 0 i32.const 15 call $throw
              end
              i32.const 53 call $log
            catch $a call $log
            catch $b
            catch_all
            end
          end
        end
      end
    delegate 0)
  (func (export "f15") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f15 (local.get 0)) (global.get $h))
  (func $f16 (param i32)
    local.get 0 i32.const 2 i32.and if
      i32.const 48 call $log
      try
        try
          i32.const 77 throw $a
          block
            try
              try
                br 2
              delegate 3
            delegate 1
          end
        delegate 0
      catch $b
      catch $a call $log
      end
    end)
  (func (export "f16") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f16 (local.get 0)) (global.get $h))
  (func $f17 (param i32)
    i32.const 59 call $log
    i32.const 39 call $log
    try
      block
        block
          try
            block
              local.get 0 i32.const 4 i32.and if
                i32.const 65 call $log
                i32.const 18 call $log
                i32.const 33 throw $a
                i32.const 1 i32.const 95 call $throw
              end
              try
                i32.const 52 call $log
              delegate 2
              try
              end
            end
            block
              local.get 0 i32.const 8 i32.and if
                i32.const 15 call $log
                i32.const 54 throw $a
                i32.const 23 call $log
              end
              try
              catch $b
              catch $b
              end
            end
          catch $b
          catch $b
          catch_all
          end
        end
      end
    delegate 0)
  (func (export "f17") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f17 (local.get 0)) (global.get $h))
  (func $f18 (param i32)
    i32.const 17 call $log
    i32.const 30 throw $a
    try
      throw $b
    delegate 0
    local.get 0 i32.const 2 i32.and if
      i32.const 79 call $log
    end)
  (func (export "f18") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f18 (local.get 0)) (global.get $h))
  (func $f19 (param i32)
    block
      i32.const 84 call $log
      try
        try
          try
            try
              i32.const 91 call $log
              try
                i32.const 0 i32.const 50 call $throw
              end
            catch $b
            catch_all
            end
          catch_all
          end
        delegate 0
      catch $b
      catch $b
      end
    end)
  (func (export "f19") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f19 (local.get 0)) (global.get $h))
  (func $f20 (param i32)
    try
      try
        i32.const 94 call $log
      catch $b
        i32.const 81 call $log
        rethrow 0
        throw $b
      catch $a call $log
        i32.const 33 call $log
        i32.const 72 call $log
        local.get 0 i32.const 1 i32.and if
          try
            i32.const 1 i32.const 35 call $throw
            block
              br 3
              i32.const 78 throw $a
              try
                i32.const 65 throw $a
                i32.const 89 call $log
                i32.const 98 call $log
                br 1
              delegate 2
              local.get 0 i32.const 8 i32.and if
                i32.const 18 call $log
                i32.const 0 i32.const 12 call $throw
                i32.const 0 i32.const 73 call $throw
              end
            end
            i32.const 15 call $log
          end
          block
          end
        end
      end
    delegate 0)
  (func (export "f20") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f20 (local.get 0)) (global.get $h))
  (func $f21 (param i32)
    try
      i32.const 29 call $log
      i32.const 1 i32.const 35 call $throw
    catch $b
      i32.const 45 call $log
    catch $a call $log
      i32.const 88 throw $a
    end
    br 0
    try
      i32.const 0 i32.const 35 call $throw
    delegate 0)
  (func (export "f21") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f21 (local.get 0)) (global.get $h))
  (func $f22 (param i32)
    local.get 0 i32.const 4 i32.and if
      i32.const 74 call $log
      local.get 0 i32.const 8 i32.and if
        block
          i32.const 0 i32.const 81 call $throw
          i32.const 0 i32.const 7 call $throw
          local.get 0 i32.const 1 i32.and if
            throw $b
            block
              block
                throw $b
                i32.const 48 call $log
                i32.const 70 call $log
              end
              br 4
              try
                i32.const 1 i32.const 88 call $throw
              catch_all
                i32.const 0 i32.const 62 call $throw
                br 6
              end
            end
          end
          try
          delegate 2
        end
      end
    end)
  (func (export "f22") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f22 (local.get 0)) (global.get $h))
  (func $f23 (param i32)
    try
      try
        i32.const 77 call $log
        i32.const 38 call $log
        try
          block
            try
              br 4
              try
                throw $b
              catch $b
                rethrow 0
                i32.const 60 call $log
                i32.const 61 call $log
              catch $a call $log
              end
            end
          end
        delegate 2
      catch $b
      catch $b
      end
    end)
  (func (export "f23") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f23 (local.get 0)) (global.get $h))
  (func $f24 (param i32)
    i32.const 46 call $log
    try
      try
        try
          local.get 0 i32.const 1 i32.and if
            br 2
            try
              i32.const 87 call $log
              i32.const 66 call $log
            delegate 1
          end
          block
            try
              try
                i32.const 50 throw $a
              catch $a call $log
                i32.const 0 i32.const 32 call $throw
                i32.const 43 call $log
                i32.const 1 i32.const 96 call $throw
                throw $b
              catch $a call $log
                i32.const 70 call $log
                i32.const 63 call $log
                rethrow 0
                i32.const 49 call $log
              end
            end
            try
              try
              delegate 1
            catch $a call $log
            catch $a call $log
            catch_all
            end
          end
        delegate 2
      delegate 1
    end)
  (func (export "f24") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f24 (local.get 0)) (global.get $h))
  (func $f25 (param i32)
    try
      br 0
      i32.const 69 call $log
    catch $a call $log
      br 0
      block
        i32.const 67 throw $a
        try
          throw $b
        delegate 2
        local.get 0 i32.const 8 i32.and if
          local.get 0 i32.const 8 i32.and if
            try
              try
                rethrow 5
              delegate 3
              i32.const 1 i32.const 22 call $throw
            catch $a call $log
              try
              delegate 4
            catch $b
            end
          end
        end
      end
    catch $b
    end)
  (func (export "f25") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f25 (local.get 0)) (global.get $h))
  (func $f26 (param i32)
    try
      local.get 0 i32.const 2 i32.and if
        try
          try
            throw $b
            i32.const 1 i32.const 2 call $throw
            i32.const 17 call $log
          catch $a call $log
            i32.const 75 call $log
            block
              block
                throw $b
                i32.const 0 i32.const 81 call $throw
              end
              try
                br 0
                i32.const 52 call $log
              catch $b
                i32.const 87 throw $a
              end
            end
          catch_all
          end
        delegate 1
      end
    catch_all
    end)
  (func (export "f26") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f26 (local.get 0)) (global.get $h))
  (func $f27 (param i32)
    i32.const 7 throw $a
    try
      i32.const 17 call $log
      try
        i32.const 56 call $log
      catch $a call $log
        block
          i32.const 91 call $log
          throw $b
          try
            try
              try
                br 6
              delegate 4
              br 3
              block
                i32.const 82 call $log
                i32.const 86 call $log
              end
            catch $a call $log
              try
                i32.const 64 call $log
                i32.const 17 call $log
              end
            catch $b
            end
          catch $b
          catch_all
          end
        end
      catch $b
      catch_all
      end
    catch $a call $log
    catch $b
    catch_all
    end)
  (func (export "f27") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f27 (local.get 0)) (global.get $h))
  (func $f28 (param i32)
    block
      try
        block
          try
            i32.const 52 call $log
            try
              try
                i32.const 62 call $log
                i32.const 39 call $log
                throw $b
              catch $b
                rethrow 0
              catch $b
                rethrow 0
                i32.const 5 throw $a
                i32.const 13 throw $a
                rethrow 0
              end
              try
              delegate 5
            delegate 2
          catch $a call $log
          catch $a call $log
          catch_all
          end
        end
      end
    end)
  (func (export "f28") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f28 (local.get 0)) (global.get $h))
  (func $f29 (param i32)
    try
      try
        try
          i32.const 9 call $log
          try
            try
              try
                i32.const 10 throw $a
                i32.const 1 i32.const 53 call $throw
                i32.const 37 call $log
                throw $b
              delegate 1
              i32.const 93 call $log
              block
                br 6
                br 0
              end
            catch $b
              try
                i32.const 47 call $log
                br 0
              end
              rethrow 0
            catch $a call $log
            catch_all
            end
          delegate 1
        end
      catch $a call $log
      catch $b
      end
    catch $b
    end)
  (func (export "f29") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f29 (local.get 0)) (global.get $h))
  (func $f30 (param i32)
    try
      local.get 0 i32.const 4 i32.and if
        block
          local.get 0 i32.const 8 i32.and if
            i32.const 1 i32.const 25 call $throw
            try
              try
                throw $b
                throw $b
                br 2
                throw $b
              catch $b
                i32.const 78 call $log
                br 6
                throw $b
              catch $b
              end
            delegate 2
          end
        end
      end
    catch $a call $log
    catch $b
    end)
  (func (export "f30") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f30 (local.get 0)) (global.get $h))
  (func $f31 (param i32)
    try
      i32.const 83 call $log
      i32.const 89 call $log
      i32.const 1 i32.const 78 call $throw
    delegate 0
    i32.const 97 throw $a)
  (func (export "f31") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f31 (local.get 0)) (global.get $h))
  (func $f32 (param i32)
    i32.const 1 i32.const 54 call $throw
    try
      try
        try
          try
            local.get 0 i32.const 2 i32.and if
              try
                i32.const 20 call $log
                i32.const 1 i32.const 96 call $throw
                i32.const 1 i32.const 1 call $throw
                i32.const 1 i32.const 57 call $throw
              delegate 3
              i32.const 19 call $log
            end
          end
          br 3
          i32.const 0 i32.const 75 call $throw
        catch $b
          rethrow 0
          try
            i32.const 29 call $log
            try
              rethrow 2
              i32.const 77 call $log
              block
                i32.const 7 call $log
                rethrow 3
              end
            catch_all
            end
          delegate 3
        catch $a call $log
        catch_all
        end
      catch $b
      catch $a call $log
      end
    catch $a call $log
    catch_all
    end)
  (func (export "f32") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f32 (local.get 0)) (global.get $h))
  (func $f33 (param i32)
    i32.const 31 throw $a
    try
      i32.const 42 call $log
      i32.const 24 call $log
      block
        try
          throw $b
          i32.const 41 call $log
        delegate 2
      end
    catch_all
      i32.const 6 call $log
      try
        i32.const 12 call $log
        rethrow 1
        try
          i32.const 7 call $log
        delegate 2
      delegate 0
    end)
  (func (export "f33") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f33 (local.get 0)) (global.get $h))
  (func $f34 (param i32)
    try
      block
        try
          try
            br 3
            try
              try
                i32.const 32 call $log
                br 3
              end
            delegate 0
          delegate 1
        delegate 0
      end
    catch $b
    end)
  (func (export "f34") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f34 (local.get 0)) (global.get $h))
  (func $f35 (param i32)
    local.get 0 i32.const 2 i32.and if
      block
        i32.const 11 call $log
        try
          throw $b
          i32.const 1 i32.const 40 call $throw
          i32.const 20 call $log
        catch $b
          try
            try
              try
                i32.const 93 throw $a
                rethrow 3
                i32.const 1 i32.const 65 call $throw
              delegate 2
            delegate 4
          catch $b
          catch $a call $log
          end
        catch $a call $log
        end
      end
    end)
  (func (export "f35") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f35 (local.get 0)) (global.get $h))
  (func $f36 (param i32)
    block
      i32.const 30 call $log
      i32.const 74 call $log
      block
        try
          local.get 0 i32.const 8 i32.and if
            block
              i32.const 10 call $log
              i32.const 0 i32.const 98 call $throw
              i32.const 99 call $log
            end
            i32.const 63 throw $a
          end
          br 0
          try
            local.get 0 i32.const 2 i32.and if
            end
          delegate 1
        catch $b
        catch $a call $log
        catch_all
        end
      end
    end)
  (func (export "f36") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f36 (local.get 0)) (global.get $h))
  (func $f37 (param i32)
    try
      try
        i32.const 18 call $log
        try
          local.get 0 i32.const 2 i32.and if
            block
              try
                i32.const 21 call $log
              catch $a call $log
                rethrow 0
                i32.const 18 call $log
                rethrow 0
                i32.const 95 call $log
              catch $b
                throw $b
                throw $b
              end
              block
                i32.const 37 throw $a
                i32.const 0 i32.const 44 call $throw
                i32.const 49 call $log
              end
            end
            try
              local.get 0 i32.const 8 i32.and if
                br 3
                i32.const 27 call $log
                i32.const 93 call $log
                i32.const 69 call $log
              end
            delegate 3
            block
              local.get 0 i32.const 8 i32.and if
                i32.const 45 call $log
              end
            end
          end
        end
      delegate 1
    end)
  (func (export "f37") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f37 (local.get 0)) (global.get $h))
  (func $f38 (param i32)
    try
      try
        i32.const 1 i32.const 96 call $throw
      catch_all
        i32.const 1 i32.const 60 call $throw
        i32.const 0 i32.const 22 call $throw
        rethrow 0
        try
        catch $a call $log
        catch $a call $log
        end
      end
    delegate 0)
  (func (export "f38") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f38 (local.get 0)) (global.get $h))
  (func $f39 (param i32)
    try
      i32.const 14 call $log
    catch $a call $log
      local.get 0 i32.const 4 i32.and if
        i32.const 63 call $log
        try
          try
            local.get 0 i32.const 8 i32.and if
              try
                i32.const 63 call $log
                i32.const 20 call $log
                i32.const 69 throw $a
              catch $b
                rethrow 5
                i32.const 1 i32.const 72 call $throw
                throw $b
              end
            end
          delegate 3
        delegate 2
      end
    end)
  (func (export "f39") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f39 (local.get 0)) (global.get $h))
  (func $f40 (param i32)
    block
      i32.const 42 call $log
      try
        i32.const 0 i32.const 45 call $throw
      catch $b
        throw $b
        i32.const 1 i32.const 86 call $throw
        try
          rethrow 1
        delegate 2
        try
          throw $b
          throw $b
        delegate 1
      catch_all
        i32.const 53 call $log
        try
        catch $a call $log
        catch $a call $log
        end
      end
    end)
  (func (export "f40") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f40 (local.get 0)) (global.get $h))
  (func $f41 (param i32)
    try
      i32.const 22 call $log
      try
        try
          i32.const 75 call $log
          block
            i32.const 43 call $log
            local.get 0 i32.const 4 i32.and if
              i32.const 23 call $log
              throw $b
            end
            block
              i32.const 61 call $log
            end
            local.get 0 i32.const 2 i32.and if
              br 1
              i32.const 1 i32.const 9 call $throw
            end
          end
        catch $b
          block
            try
              try
                i32.const 1 i32.const 6 call $throw
              delegate 2
              try
                i32.const 14 call $log
                br 6
              end
            delegate 2
            i32.const 92 call $log
          end
        end
        local.get 0 i32.const 8 i32.and if
          i32.const 48 call $log
        end
      catch $b
      catch $b
      catch_all
      end
    catch_all
    end)
  (func (export "f41") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f41 (local.get 0)) (global.get $h))
  (func $f42 (param i32)
    local.get 0 i32.const 1 i32.and if
      try
        i32.const 36 call $log
      catch $a call $log
        try
          try
            local.get 0 i32.const 1 i32.and if
              i32.const 67 call $log
              br 0
              br 1
              local.get 0 i32.const 1 i32.and if
                rethrow 4
                i32.const 20 call $log
                i32.const 61 call $log
                i32.const 1 i32.const 9 call $throw
              end
            end
            try
              i32.const 70 call $log
              local.get 0 i32.const 1 i32.and if
                throw $b
                i32.const 1 i32.const 31 call $throw
              end
              try
                throw $b
                i32.const 27 call $log
                throw $b
                i32.const 14 call $log
              catch_all
                i32.const 56 call $log
              end
              try
                i32.const 63 call $log
              catch $a call $log
              catch $b
              end
            delegate 4
          catch_all
          end
        delegate 1
      catch_all
      end
    end)
  (func (export "f42") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f42 (local.get 0)) (global.get $h))
  (func $f43 (param i32)
    block
      block
        block
          i32.const 1 i32.const 98 call $throw
          try
            try
              block
                i32.const 9 call $log
              end
              block
                br 2
              end
              try
                br 4
                i32.const 65 call $log
              end
              try
                throw $b
                i32.const 92 call $log
                throw $b
              end
            catch $a call $log
              try
                i32.const 13 throw $a
              delegate 5
              i32.const 1 i32.const 12 call $throw
            end
          catch $b
          catch $a call $log
          catch_all
          end
        end
      end
    end)
  (func (export "f43") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f43 (local.get 0)) (global.get $h))
  (func $f44 (param i32)
    try
      i32.const 37 throw $a
      local.get 0 i32.const 2 i32.and if
        try
          i32.const 3 call $log
          try
            try
              i32.const 99 call $log
            catch $a call $log
              try
                i32.const 46 call $log
                i32.const 23 throw $a
                br 1
                br 0
              catch $a call $log
                i32.const 28 call $log
                i32.const 20 call $log
                i32.const 1 i32.const 14 call $throw
                i32.const 61 throw $a
              catch_all
                rethrow 0
                br 5
                i32.const 0 i32.const 99 call $throw
              end
              rethrow 0
              i32.const 64 call $log
            catch $a call $log
            end
          catch $a call $log
          catch_all
          end
        catch $a call $log
        end
      end
    catch $b
    catch $b
    end)
  (func (export "f44") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f44 (local.get 0)) (global.get $h))
  (func $f45 (param i32)
    local.get 0 i32.const 4 i32.and if
      i32.const 0 i32.const 72 call $throw
    end
    try
      try
        local.get 0 i32.const 1 i32.and if
          block
            i32.const 0 i32.const 53 call $throw
          end
          try
            i32.const 75 call $log
            try
              block
                throw $b
                i32.const 11 call $log
              end
              i32.const 59 throw $a
              i32.const 79 call $log
              i32.const 99 call $log
            delegate 0
          delegate 0
        end
      end
    delegate 0)
  (func (export "f45") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f45 (local.get 0)) (global.get $h))
  (func $f46 (param i32)
    i32.const 61 call $log
    local.get 0 i32.const 4 i32.and if
      try
        try
          i32.const 0 i32.const 32 call $throw
          local.get 0 i32.const 2 i32.and if
            try
              try
                i32.const 0 i32.const 85 call $throw
                i32.const 19 throw $a
              catch_all
                i32.const 22 call $log
                br 6
                rethrow 0
                i32.const 91 call $log
              end
              i32.const 58 throw $a
              i32.const 90 throw $a
            catch $a call $log
              block
                i32.const 9 call $log
              end
            catch_all
            end
          end
        end
      catch $b
      catch $a call $log
      end
    end)
  (func (export "f46") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f46 (local.get 0)) (global.get $h))
  (func $f47 (param i32)
    i32.const 4 throw $a
    try
      i32.const 10 call $log
      i32.const 1 i32.const 15 call $throw
      i32.const 25 throw $a
      i32.const 82 call $log
    end
    try
    delegate 0)
  (func (export "f47") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f47 (local.get 0)) (global.get $h))
  (func $f48 (param i32)
    try
      try
        i32.const 3 throw $a
      catch_all
        block
          i32.const 2 call $log
          block
            throw $b
            block
              i32.const 0 i32.const 98 call $throw
              block
                i32.const 80 call $log
                i32.const 4 call $log
                throw $b
                i32.const 51 call $log
              end
              i32.const 53 call $log
              try
                br 6
                i32.const 89 call $log
                i32.const 72 call $log
                i32.const 50 call $log
              delegate 4
            end
            i32.const 0 i32.const 28 call $throw
          end
          i32.const 91 call $log
        end
      end
    catch $a call $log
      i32.const 67 call $log
      try
      delegate 0
    catch_all
    end)
  (func (export "f48") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f48 (local.get 0)) (global.get $h))
  (func $f49 (param i32)
    local.get 0 i32.const 8 i32.and if
      i32.const 13 call $log
      try
        try
          block
            try
              local.get 0 i32.const 1 i32.and if
                i32.const 44 call $log
                throw $b
                i32.const 1 i32.const 75 call $throw
              end
              throw $b
            catch $b
              try
              catch $a call $log
              end
            end
          end
        delegate 1
      catch_all
      end
    end)
  (func (export "f49") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f49 (local.get 0)) (global.get $h))
  (func $f50 (param i32)
    try
      block
        try
          i32.const 1 i32.const 17 call $throw
        catch $a call $log
          try
            try
              try
                rethrow 3
              delegate 0
              i32.const 0 i32.const 73 call $throw
            delegate 0
          delegate 2
        catch $a call $log
        catch_all
        end
      end
    end)
  (func (export "f50") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f50 (local.get 0)) (global.get $h))
  (func $f51 (param i32)
    try
      try
        local.get 0 i32.const 1 i32.and if
          i32.const 36 call $log
        end
      delegate 0
      i32.const 69 throw $a
      block
        i32.const 44 call $log
        i32.const 45 throw $a
        try
          i32.const 66 call $log
        delegate 0
      end
    catch_all
      i32.const 41 call $log
      i32.const 69 call $log
      try
        i32.const 55 call $log
        throw $b
      catch $b
        try
          rethrow 2
          i32.const 1 i32.const 73 call $throw
          try
          catch $b
          end
        end
      catch $a call $log
      end
    end)
  (func (export "f51") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f51 (local.get 0)) (global.get $h))
  (func $f52 (param i32)
    try
      try
        i32.const 1 i32.const 70 call $throw
        block
          i32.const 34 throw $a
          try
            i32.const 99 call $log
            try
              block
                br 0
                i32.const 15 call $log
              end
              i32.const 13 call $log
            catch $b
              i32.const 7 call $log
            end
            try
              br 3
              i32.const 41 call $log
            catch $b
              i32.const 93 call $log
              rethrow 0
              try
                i32.const 1 i32.const 76 call $throw
                i32.const 20 call $log
                rethrow 1
              catch $b
              end
            end
          delegate 2
        end
      catch $a call $log
      catch $a call $log
      end
    catch $a call $log
    catch $a call $log
    catch_all
    end)
  (func (export "f52") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f52 (local.get 0)) (global.get $h))
  (func $f53 (param i32)
    try
      try
        local.get 0 i32.const 1 i32.and if
          try
            try
              i32.const 4 call $log
            catch_all
              rethrow 0
              try
                i32.const 91 throw $a
                i32.const 31 call $log
                i32.const 94 call $log
              delegate 2
              i32.const 78 call $log
              i32.const 91 call $log
            end
            br 0
            i32.const 0 i32.const 89 call $throw
            local.get 0 i32.const 4 i32.and if
              try
                i32.const 1 i32.const 89 call $throw
              delegate 5
            end
          end
          try
          delegate 0
        end
      catch $a call $log
        try
        catch $a call $log
        end
      catch $a call $log
      end
    catch $b
    catch $b
    end)
  (func (export "f53") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f53 (local.get 0)) (global.get $h))
  (func $f54 (param i32)
    try
      try
        block
          try
            i32.const 51 call $log
            local.get 0 i32.const 2 i32.and if
              local.get 0 i32.const 8 i32.and if
                i32.const 94 call $log
                i32.const 81 call $log
                i32.const 0 i32.const 82 call $throw
              end
            end
            try
              i32.const 1 i32.const 2 call $throw
              try
                i32.const 60 throw $a
              end
              i32.const 11 call $log
              i32.const 13 call $log
            catch $a call $log
              i32.const 54 call $log
            catch $a call $log
              i32.const 50 call $log
              try
                i32.const 74 call $log
                i32.const 46 throw $a
              catch $b
                i32.const 10 call $log
                rethrow 0
              catch $a call $log
                i32.const 12 call $log
                i32.const 85 call $log
                i32.const 36 call $log
              end
              local.get 0 i32.const 4 i32.and if
              end
            catch_all
            end
          catch $a call $log
          catch_all
          end
        end
      delegate 0
    delegate 0)
  (func (export "f54") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f54 (local.get 0)) (global.get $h))
  (func $f55 (param i32)
    i32.const 1 i32.const 33 call $throw
    try
      i32.const 0 i32.const 72 call $throw
      i32.const 30 throw $a
    delegate 0)
  (func (export "f55") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f55 (local.get 0)) (global.get $h))
  (func $f56 (param i32)
    i32.const 38 call $log
    try
      i32.const 27 call $log
      i32.const 49 throw $a
      br 0
    delegate 0
    try
      block
        i32.const 14 call $log
        i32.const 86 call $log
      end
    delegate 0)
  (func (export "f56") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f56 (local.get 0)) (global.get $h))
  (func $f57 (param i32)
    local.get 0 i32.const 2 i32.and if
      throw $b
    end
    block
      i32.const 23 call $log
      try
        local.get 0 i32.const 2 i32.and if
        end
        br 1
        try
          i32.const 1 call $log
          try
            local.get 0 i32.const 8 i32.and if
              try
                i32.const 1 i32.const 99 call $throw
                i32.const 10 call $log
              catch $a call $log
                rethrow 0
                i32.const 0 i32.const 77 call $throw
                i32.const 22 throw $a
              end
            end
          end
        delegate 2
      delegate 1
    end)
  (func (export "f57") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f57 (local.get 0)) (global.get $h))
  (func $f58 (param i32)
    i32.const 83 call $log
    try
      throw $b
      try
        i32.const 0 i32.const 33 call $throw
        try
          block
            i32.const 1 i32.const 27 call $throw
            i32.const 1 i32.const 65 call $throw
            try
              block
                i32.const 34 call $log
                br 2
              end
              throw $b
              try
                i32.const 1 i32.const 6 call $throw
                i32.const 27 call $log
                i32.const 67 call $log
              catch $b
              catch $b
              end
            catch $b
            catch $a call $log
            catch_all
            end
          end
        catch $b
        catch $a call $log
        catch_all
        end
      delegate 0
    end)
  (func (export "f58") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f58 (local.get 0)) (global.get $h))
  (func $f59 (param i32)
    try
      i32.const 0 i32.const 6 call $throw
      i32.const 50 call $log
      try
        br 1
      end
      i32.const 1 i32.const 77 call $throw
    end
    try
      try
        try
          try
            block
              try
                i32.const 0 i32.const 33 call $throw
                br 2
                i32.const 11 call $log
                i32.const 33 call $log
              catch $b
              catch_all
              end
            end
          delegate 3
        end
      delegate 0
    delegate 0)
  (func (export "f59") (param i32) (result i32)
    (global.set $h (i32.const 1)) (call $f59 (local.get 0)) (global.get $h)))
(assert_return (invoke "f0" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f0" (i32.const 5)) (i32.const 1))
(assert_exception (invoke "f0" (i32.const 15)))
(assert_return (invoke "f0" (i32.const 10)) (i32.const 60))
(assert_return (invoke "f1" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f1" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f1" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f1" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f2" (i32.const 0)) (i32.const 125))
(assert_return (invoke "f2" (i32.const 5)) (i32.const 125))
(assert_return (invoke "f2" (i32.const 15)) (i32.const 125))
(assert_return (invoke "f2" (i32.const 10)) (i32.const 125))
(assert_return (invoke "f3" (i32.const 0)) (i32.const 36))
(assert_return (invoke "f3" (i32.const 5)) (i32.const 36))
(assert_exception (invoke "f3" (i32.const 15)))
(assert_return (invoke "f3" (i32.const 10)) (i32.const 1207))
(assert_exception (invoke "f4" (i32.const 0)))
(assert_exception (invoke "f4" (i32.const 5)))
(assert_exception (invoke "f4" (i32.const 15)))
(assert_exception (invoke "f4" (i32.const 10)))
(assert_return (invoke "f5" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f5" (i32.const 5)) (i32.const 1))
(assert_exception (invoke "f5" (i32.const 15)))
(assert_exception (invoke "f5" (i32.const 10)))
(assert_return (invoke "f6" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f6" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f6" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f6" (i32.const 10)) (i32.const 1))
(assert_exception (invoke "f7" (i32.const 0)))
(assert_exception (invoke "f7" (i32.const 5)))
(assert_exception (invoke "f7" (i32.const 15)))
(assert_exception (invoke "f7" (i32.const 10)))
(assert_exception (invoke "f8" (i32.const 0)))
(assert_exception (invoke "f8" (i32.const 5)))
(assert_exception (invoke "f8" (i32.const 15)))
(assert_exception (invoke "f8" (i32.const 10)))
(assert_exception (invoke "f9" (i32.const 0)))
(assert_exception (invoke "f9" (i32.const 5)))
(assert_exception (invoke "f9" (i32.const 15)))
(assert_exception (invoke "f9" (i32.const 10)))
(assert_exception (invoke "f10" (i32.const 0)))
(assert_exception (invoke "f10" (i32.const 5)))
(assert_exception (invoke "f10" (i32.const 15)))
(assert_exception (invoke "f10" (i32.const 10)))
(assert_return (invoke "f11" (i32.const 0)) (i32.const 40))
(assert_exception (invoke "f11" (i32.const 5)))
(assert_exception (invoke "f11" (i32.const 15)))
(assert_return (invoke "f11" (i32.const 10)) (i32.const 40))
(assert_return (invoke "f12" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f12" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f12" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f12" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f13" (i32.const 0)) (i32.const 129))
(assert_return (invoke "f13" (i32.const 5)) (i32.const 126581))
(assert_return (invoke "f13" (i32.const 15)) (i32.const 126581))
(assert_return (invoke "f13" (i32.const 10)) (i32.const 129))
(assert_exception (invoke "f14" (i32.const 0)))
(assert_exception (invoke "f14" (i32.const 5)))
(assert_exception (invoke "f14" (i32.const 15)))
(assert_exception (invoke "f14" (i32.const 10)))
(assert_return (invoke "f15" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f15" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f15" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f15" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f16" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f16" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f16" (i32.const 15)) (i32.const 2526))
(assert_return (invoke "f16" (i32.const 10)) (i32.const 2526))
(assert_return (invoke "f17" (i32.const 0)) (i32.const 87751))
(assert_return (invoke "f17" (i32.const 5)) (i32.const 2720702))
(assert_return (invoke "f17" (i32.const 15)) (i32.const 2720702))
(assert_return (invoke "f17" (i32.const 10)) (i32.const 2720296))
(assert_exception (invoke "f18" (i32.const 0)))
(assert_exception (invoke "f18" (i32.const 5)))
(assert_exception (invoke "f18" (i32.const 15)))
(assert_exception (invoke "f18" (i32.const 10)))
(assert_return (invoke "f19" (i32.const 0)) (i32.const 3656))
(assert_return (invoke "f19" (i32.const 5)) (i32.const 3656))
(assert_return (invoke "f19" (i32.const 15)) (i32.const 3656))
(assert_return (invoke "f19" (i32.const 10)) (i32.const 3656))
(assert_return (invoke "f20" (i32.const 0)) (i32.const 125))
(assert_return (invoke "f20" (i32.const 5)) (i32.const 125))
(assert_return (invoke "f20" (i32.const 15)) (i32.const 125))
(assert_return (invoke "f20" (i32.const 10)) (i32.const 125))
(assert_return (invoke "f21" (i32.const 0)) (i32.const 1905))
(assert_return (invoke "f21" (i32.const 5)) (i32.const 1905))
(assert_return (invoke "f21" (i32.const 15)) (i32.const 1905))
(assert_return (invoke "f21" (i32.const 10)) (i32.const 1905))
(assert_return (invoke "f22" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f22" (i32.const 5)) (i32.const 105))
(assert_exception (invoke "f22" (i32.const 15)))
(assert_return (invoke "f22" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f23" (i32.const 0)) (i32.const 3386))
(assert_return (invoke "f23" (i32.const 5)) (i32.const 3386))
(assert_return (invoke "f23" (i32.const 15)) (i32.const 3386))
(assert_return (invoke "f23" (i32.const 10)) (i32.const 3386))
(assert_exception (invoke "f24" (i32.const 0)))
(assert_return (invoke "f24" (i32.const 5)) (i32.const 77))
(assert_return (invoke "f24" (i32.const 15)) (i32.const 77))
(assert_exception (invoke "f24" (i32.const 10)))
(assert_return (invoke "f25" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f25" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f25" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f25" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f26" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f26" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f26" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f26" (i32.const 10)) (i32.const 1))
(assert_exception (invoke "f27" (i32.const 0)))
(assert_exception (invoke "f27" (i32.const 5)))
(assert_exception (invoke "f27" (i32.const 15)))
(assert_exception (invoke "f27" (i32.const 10)))
(assert_exception (invoke "f28" (i32.const 0)))
(assert_exception (invoke "f28" (i32.const 5)))
(assert_exception (invoke "f28" (i32.const 15)))
(assert_exception (invoke "f28" (i32.const 10)))
(assert_return (invoke "f29" (i32.const 0)) (i32.const 1250))
(assert_return (invoke "f29" (i32.const 5)) (i32.const 1250))
(assert_return (invoke "f29" (i32.const 15)) (i32.const 1250))
(assert_return (invoke "f29" (i32.const 10)) (i32.const 1250))
(assert_return (invoke "f30" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f30" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f30" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f30" (i32.const 10)) (i32.const 1))
(assert_exception (invoke "f31" (i32.const 0)))
(assert_exception (invoke "f31" (i32.const 5)))
(assert_exception (invoke "f31" (i32.const 15)))
(assert_exception (invoke "f31" (i32.const 10)))
(assert_exception (invoke "f32" (i32.const 0)))
(assert_exception (invoke "f32" (i32.const 5)))
(assert_exception (invoke "f32" (i32.const 15)))
(assert_exception (invoke "f32" (i32.const 10)))
(assert_exception (invoke "f33" (i32.const 0)))
(assert_exception (invoke "f33" (i32.const 5)))
(assert_exception (invoke "f33" (i32.const 15)))
(assert_exception (invoke "f33" (i32.const 10)))
(assert_return (invoke "f34" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f34" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f34" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f34" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f35" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f35" (i32.const 5)) (i32.const 1))
(assert_exception (invoke "f35" (i32.const 15)))
(assert_exception (invoke "f35" (i32.const 10)))
(assert_return (invoke "f36" (i32.const 0)) (i32.const 1965))
(assert_return (invoke "f36" (i32.const 5)) (i32.const 1965))
(assert_return (invoke "f36" (i32.const 15)) (i32.const 1888773))
(assert_return (invoke "f36" (i32.const 10)) (i32.const 1888773))
(assert_return (invoke "f37" (i32.const 0)) (i32.const 49))
(assert_return (invoke "f37" (i32.const 5)) (i32.const 49))
(assert_exception (invoke "f37" (i32.const 15)))
(assert_exception (invoke "f37" (i32.const 10)))
(assert_exception (invoke "f38" (i32.const 0)))
(assert_exception (invoke "f38" (i32.const 5)))
(assert_exception (invoke "f38" (i32.const 15)))
(assert_exception (invoke "f38" (i32.const 10)))
(assert_return (invoke "f39" (i32.const 0)) (i32.const 45))
(assert_return (invoke "f39" (i32.const 5)) (i32.const 45))
(assert_return (invoke "f39" (i32.const 15)) (i32.const 45))
(assert_return (invoke "f39" (i32.const 10)) (i32.const 45))
(assert_return (invoke "f40" (i32.const 0)) (i32.const 2316))
(assert_return (invoke "f40" (i32.const 5)) (i32.const 2316))
(assert_return (invoke "f40" (i32.const 15)) (i32.const 2316))
(assert_return (invoke "f40" (i32.const 10)) (i32.const 2316))
(assert_return (invoke "f41" (i32.const 0)) (i32.const 1652392))
(assert_return (invoke "f41" (i32.const 5)) (i32.const 1652354))
(assert_return (invoke "f41" (i32.const 15)) (i32.const 1652354))
(assert_return (invoke "f41" (i32.const 10)) (i32.const 51224200))
(assert_return (invoke "f42" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f42" (i32.const 5)) (i32.const 67))
(assert_return (invoke "f42" (i32.const 15)) (i32.const 67))
(assert_return (invoke "f42" (i32.const 10)) (i32.const 1))
(assert_exception (invoke "f43" (i32.const 0)))
(assert_exception (invoke "f43" (i32.const 5)))
(assert_exception (invoke "f43" (i32.const 15)))
(assert_exception (invoke "f43" (i32.const 10)))
(assert_exception (invoke "f44" (i32.const 0)))
(assert_exception (invoke "f44" (i32.const 5)))
(assert_exception (invoke "f44" (i32.const 15)))
(assert_exception (invoke "f44" (i32.const 10)))
(assert_return (invoke "f45" (i32.const 0)) (i32.const 1))
(assert_exception (invoke "f45" (i32.const 5)))
(assert_exception (invoke "f45" (i32.const 15)))
(assert_return (invoke "f45" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f46" (i32.const 0)) (i32.const 92))
(assert_return (invoke "f46" (i32.const 5)) (i32.const 2884))
(assert_return (invoke "f46" (i32.const 15)) (i32.const 2884))
(assert_return (invoke "f46" (i32.const 10)) (i32.const 92))
(assert_exception (invoke "f47" (i32.const 0)))
(assert_exception (invoke "f47" (i32.const 5)))
(assert_exception (invoke "f47" (i32.const 15)))
(assert_exception (invoke "f47" (i32.const 10)))
(assert_return (invoke "f48" (i32.const 0)) (i32.const 33))
(assert_return (invoke "f48" (i32.const 5)) (i32.const 33))
(assert_return (invoke "f48" (i32.const 15)) (i32.const 33))
(assert_return (invoke "f48" (i32.const 10)) (i32.const 33))
(assert_return (invoke "f49" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f49" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f49" (i32.const 15)) (i32.const 1408))
(assert_return (invoke "f49" (i32.const 10)) (i32.const 44))
(assert_return (invoke "f50" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f50" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f50" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f50" (i32.const 10)) (i32.const 1))
(assert_exception (invoke "f51" (i32.const 0)))
(assert_exception (invoke "f51" (i32.const 5)))
(assert_exception (invoke "f51" (i32.const 15)))
(assert_exception (invoke "f51" (i32.const 10)))
(assert_return (invoke "f52" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f52" (i32.const 5)) (i32.const 1))
(assert_return (invoke "f52" (i32.const 15)) (i32.const 1))
(assert_return (invoke "f52" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f53" (i32.const 0)) (i32.const 1))
(assert_return (invoke "f53" (i32.const 5)) (i32.const 35))
(assert_return (invoke "f53" (i32.const 15)) (i32.const 35))
(assert_return (invoke "f53" (i32.const 10)) (i32.const 1))
(assert_return (invoke "f54" (i32.const 0)) (i32.const 82))
(assert_return (invoke "f54" (i32.const 5)) (i32.const 82))
(assert_return (invoke "f54" (i32.const 15)) (i32.const 2535789))
(assert_return (invoke "f54" (i32.const 10)) (i32.const 2535789))
(assert_exception (invoke "f55" (i32.const 0)))
(assert_exception (invoke "f55" (i32.const 5)))
(assert_exception (invoke "f55" (i32.const 15)))
(assert_exception (invoke "f55" (i32.const 10)))
(assert_exception (invoke "f56" (i32.const 0)))
(assert_exception (invoke "f56" (i32.const 5)))
(assert_exception (invoke "f56" (i32.const 15)))
(assert_exception (invoke "f56" (i32.const 10)))
(assert_return (invoke "f57" (i32.const 0)) (i32.const 54))
(assert_return (invoke "f57" (i32.const 5)) (i32.const 54))
(assert_exception (invoke "f57" (i32.const 15)))
(assert_exception (invoke "f57" (i32.const 10)))
(assert_exception (invoke "f58" (i32.const 0)))
(assert_exception (invoke "f58" (i32.const 5)))
(assert_exception (invoke "f58" (i32.const 15)))
(assert_exception (invoke "f58" (i32.const 10)))
(assert_exception (invoke "f59" (i32.const 0)))
(assert_exception (invoke "f59" (i32.const 5)))
(assert_exception (invoke "f59" (i32.const 15)))
(assert_exception (invoke "f59" (i32.const 10)))
