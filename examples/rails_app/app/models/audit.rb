# frozen_string_literal: true

class Audit < ApplicationRecord
end
