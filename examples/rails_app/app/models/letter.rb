# frozen_string_literal: true

class Letter < ApplicationRecord
end
