# frozen_string_literal: true

require "json"
require "sidekiq"

# How deep it gets before Ruby's stack is full.
class DeepJob
  include Sidekiq::Job

  def perform
    depths = {methods: depth { |count| methods_deep(count) }, blocks: depth { |count| blocks_deep(count) }}
    depths[:json] = JSON.generate(nested(95)).size
    depths[:marshal] = Marshal.dump(nested(2_000)).size
    File.write(File.join(ENV.fetch("TEST_JOURNAL"), "depths"), JSON.generate(depths))
  end

  private

  def depth
    deepest = 0
    yield ->(level) { deepest = level }
  rescue SystemStackError
    deepest
  end

  def methods_deep(count, level = 0)
    count.call(level)
    methods_deep(count, level + 1)
  end

  def blocks_deep(count, level = 0)
    [level].each { |one| count.call(one) && blocks_deep(count, one + 1) }
  end

  def nested(levels)
    (1..levels).reduce([]) { |inner, _| [inner] }
  end
end
